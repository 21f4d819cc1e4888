"""The errors for responses of AWS STS and IAM Identity Center, with a hint for each code."""

from http import HTTPStatus

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError

from forwarder.aws.credential_providers import PROFILE_ROLE, ROLE, SSO, WEB_IDENTITY, web_identity_role
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.redaction import sanitize

CODE = "credentials"

THROTTLING_CODES = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException"})
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
UNKNOWN_KEY_CODES = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})
SIGNATURE_CODES = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"})
CLOCK_SKEW_CODES = frozenset({"RequestExpired", "RequestTimeTooSkewed"})

CLOCK_HINT = "correct this machine's clock: AWS accepts a difference of 5 minutes"


def sts_error(error: ClientError, provider: str, session: AioSession, prefix: str, hint: str) -> DestinationError:
    """Return the error for an error response. `hint` is used for codes without a hint in this module."""
    document = error.response.get("Error", {})
    code = sanitize(str(document.get("Code") or ""))
    message = " ".join(sanitize(str(document.get("Message") or "")).split())
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    reason = f"{code}: {message}" if message else code
    service = "AWS IAM Identity Center" if provider == SSO else "AWS STS"
    if code.isdigit() or code in ("", "Unknown"):
        return DestinationUnavailable(
            f"{prefix}: status {status} from something that is not {service}",
            code="not-aws",
            hint="an intermediary responds in place of AWS: check proxies and AWS_ENDPOINT_URL",
        )
    if code in THROTTLING_CODES or status >= HTTPStatus.INTERNAL_SERVER_ERROR or code == "IDPCommunicationError":
        return DestinationUnavailable(f"{prefix}: {service} fails temporarily: {reason}", code="unreachable")
    return DestinationRefused(
        f"{prefix}: {service} responds to {error.operation_name} with {reason}",
        code=CODE,
        hint=_hint(code, message, provider, session) or hint,
    )


def _hint(code: str, message: str, provider: str, session: AioSession) -> str:
    text = message.lower()
    if code in CLOCK_SKEW_CODES or (code in SIGNATURE_CODES and ("expired" in text or "not yet current" in text)):
        return CLOCK_HINT
    if code in SIGNATURE_CODES:
        return "the secret access key does not belong to the access key id: set both again"
    if code == "RegionDisabledException":
        return "activate STS for this region in the account settings of IAM, or use another destination.region"
    if "durationseconds" in text:
        return "raise the maximum session duration of the role to 1 hour or more"
    if code in UNKNOWN_KEY_CODES:
        return (
            "create new keys, or use keys of the partition of destination.region"
            " (aws, aws-cn and aws-us-gov have separate keys); temporary keys also need their session token"
        )
    return _role_hint(code, provider, session)


def _role_hint(code: str, provider: str, session: AioSession) -> str:
    if provider == WEB_IDENTITY:
        return _web_identity_hint(code, session)
    if code in EXPIRED_CODES:
        return "" if provider == SSO else "renew these temporary credentials, or use a source that the SDK renews"
    if provider == SSO:
        return "assign this account and permission set to the user in IAM Identity Center"
    if code in DENIED_CODES and provider == ROLE:
        return (
            "allow sts:AssumeRole on it to this identity, name the identity in the role's trust policy,"
            " and set destination.external_id to what that policy requires"
        )
    if code in DENIED_CODES and provider == PROFILE_ROLE:
        return "allow sts:AssumeRole on it, and name the source identity (and its external_id) in its trust policy"
    return ""


def _web_identity_hint(code: str, session: AioSession) -> str:
    role = web_identity_role(session)
    if code in EXPIRED_CODES:
        return "something has to renew the token in that file: recreate the pod or the job; check the clock too"
    if code in DENIED_CODES:
        return f"allow sts:AssumeRoleWithWebIdentity to this token's subject in the trust policy of {role}"
    if code == "InvalidIdentityToken":
        return "register the token's issuer as an OIDC provider in IAM, with the audience sts.amazonaws.com"
    return f"check {role}"
