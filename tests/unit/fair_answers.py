"""Answers that every gate has to leave alone: short ones, code, markup, lists, verse, other scripts."""

FAIR = (
    "4",
    "Paris",
    "Hola",
    "No.",
    "0",
    "None of the above",
    "# Results\n\n## Method\n\nWe ran it twice.\n\n### Findings ###\n\nIt holds.",
    "```python\n# a comment ###\nx = 1  # END\n```",
    "Roses are red,\nViolets are blue,\nSugar is sweet,\nAnd so are you.",
    "- one\n- two\n- three",
    "1. First\n2. Second",
    '{"name": "Ada", "tags": ["x", "y"]}',
    "The area is $\\pi r^2$, so $A = 3.14$.",
    "¿Dónde está la biblioteca?",
    "می‌خواهم بروم. क्षत्रिय 👨‍👩‍👧",
    "I like C#",
)
