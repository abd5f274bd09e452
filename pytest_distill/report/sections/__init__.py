"""The sections of the page, each a function from what was found to markup."""
