"""What must not be published."""

from pytest_distill import gate


@gate("privacy.personal-data", rejects="personal_data", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_no_personal_data(personal_data, quarantine):
    """No row holds e-mail addresses, telephone numbers, account, card or identity numbers of persons, or public IPs."""
    quarantine(personal_data.is_not_null(), found=personal_data)


@gate("privacy.secrets", rejects="secret", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_no_secrets(secret, quarantine):
    """No row holds keys, tokens or passwords."""
    quarantine(secret.is_not_null(), found=secret)
