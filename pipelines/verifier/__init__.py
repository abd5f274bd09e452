"""Automated verifiers of sampling inspection: a model that says of a row what a person would have to say.

`critic` reads the log-probabilities of two labels behind the rubric of stage 1's pair critic, on any backend.
`judge` asks a model and reads the JSON of its reply, through the door of judges.
"""
