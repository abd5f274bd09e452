"""The standard measures: the columns that standard gates decide on, and that workspace gates use by name."""
