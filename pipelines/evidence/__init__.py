"""From streams of what agents did to evidence and scores: deterministic, without model calls."""
