"""How much of the batch says nearly the same."""

import polars as pl

from pytest_distill import gate
from pytest_distill.gates.measures.diversity import radius, vectors
from pytest_distill.measuring.density import density


@gate(
    "grading.diversity-density",
    applies={"kind": ["sft", "preference", "rag", "text"], "policy": "diversity.check"},
    limits={
        "max_near_share": 0.2,
        "max_cluster_share": 0.05,
        "max_self_similarity": 1.0,
        "max_source_near_share": 1.0,
        "exact_rows": 100_000,
        "min_recall": 0.9,
    },
)
def test_diversity_density(meaning_vector, batch, policy, require, limits):
    """Few rows lie within the calibrated radius of another one, by meaning, and no clump of such rows is large.

    Judged are the rows that remain, so copies that other gates have removed do not count. Self-similarity is the mean cosine of
    two rows; the last figure is the source of most such rows. Past `exact_rows` an index finds neighbours, and its recall on a
    sample is bounded.
    """
    within = radius(policy.diversity, policy.embedding)
    found = density(vectors(meaning_vector), within, exact_rows=limits.exact_rows)
    by_source = pl.DataFrame({"source": batch.sources(), "near": found.near}).group_by("source").agg(pl.col("near").mean())
    require("share of rows with a neighbour", found.near_share, at_most=limits.max_near_share)
    require("share of the largest cluster", found.largest_share, at_most=limits.max_cluster_share)
    require("self-similarity", found.self_similarity, at_most=limits.max_self_similarity)
    require("largest share of a source", by_source["near"].max(), at_most=limits.max_source_near_share)
    require("clusters", found.clusters, at_least=0)
    require("radius, as a cosine", within, above=0)
    require("recall of neighbours", found.recall, at_least=limits.min_recall)
