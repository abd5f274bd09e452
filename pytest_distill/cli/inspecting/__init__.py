"""The screen of `distill inspect`: a sitting (what was decided, where one is), what is known of a row, and the screen itself."""
