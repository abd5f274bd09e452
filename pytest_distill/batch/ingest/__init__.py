"""Ingest: other people's files to a batch. Strict readers, one per format, and the check against the kind's minimum."""

from pytest_distill.batch.ingest.formats import read_records
from pytest_distill.batch.ingest.ingest import ingest_ad_hoc

__all__ = ["ingest_ad_hoc", "read_records"]
