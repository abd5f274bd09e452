"""What was seen by those who looked at a sample of the rows."""

from pytest_distill import gate
from pytest_distill.errors import one_line


@gate("inspection.sampling", applies={"asks": "inspection"}, rows="all", fixed=True)
def test_a_sample_was_inspected(batch, policy, require):
    """As many rows as the sampling plan asks for, drawn by the batch's digest, were judged, with no more defects than it accepts.

    The plan follows from `[inspection]` in the policy. A row that somebody was unsure of counts as a defect. An automated
    verifier may judge once its agreement with people was measured (`distill agreement`): one figure each says how far they agree.
    """
    plan, inspection = batch.sampling_plan(), batch.inspection()
    require("rows that were inspected", len(inspection.decisions), at_least=plan.rows, unit="rows")
    require("drawn rows that nobody has judged", len(inspection.open), equals=0, unit="rows")
    require("defects among them", inspection.defects, at_most=plan.accept, unit="rows")
    for who, said in inspection.inspectors().items():
        require(f"rows judged by {one_line(who)}, {said[0].at} to {said[-1].at}", len(said), at_least=1, unit="rows")
    for verifier in inspection.verifiers:
        agreement = batch.agreement(verifier)
        shared = len(agreement.rows) if agreement else 0
        require(f"rows that people and verifier {verifier[:12]} both judged", shared, at_least=policy.inspection.min_shared_rows)
        kappa = agreement.kappa if agreement else 0.0
        require(f"kappa of people and verifier {verifier[:12]}", kappa, at_least=policy.inspection.min_kappa)
