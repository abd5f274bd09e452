"""Stage 1, bootstrapping: instructions, responses, critics, cleaning. Plain functions; they import no gate."""
