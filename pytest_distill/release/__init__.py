"""Release: verdict -> seal -> export -> verify."""
