"""Refusals of AWS STS and IAM Identity Center: one table from code to hint."""

from http import HTTPStatus

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError

from forwarder.aws.credential_links import PROFILE_ROLE, ROLE, SSO, WEB_IDENTITY, web_identity_role
from forwarder.errors import DestinationError, DestinationRefused, DestinationUnavailable
from forwarder.redaction import foreign

CODE = "credentials"

THROTTLED = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})
UNKNOWN_KEY = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})
SIGNATURE = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"})
SKEWED = frozenset({"RequestExpired", "RequestTimeTooSkewed"})

CLOCK_HINT = "correct this machine's clock: AWS accepts a difference of 5 minutes"


def refused(error: ClientError, link: str, session: AioSession, claim: str, hint: str) -> DestinationError:
    """Return the error for an answer that is an error. `hint` is for codes without a row here."""
    said = error.response.get("Error", {})
    code = foreign(str(said.get("Code") or ""))
    message = " ".join(foreign(str(said.get("Message") or "")).split())
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    reason = f"{code}: {message}" if message else code
    service = "AWS IAM Identity Center" if link == SSO else "AWS STS"
    if code.isdigit() or code in ("", "Unknown"):
        return DestinationUnavailable(
            f"{claim}: status {status} from something that is not {service}",
            code="not-aws",
            hint="something between here and AWS answers in its place: check proxies and AWS_ENDPOINT_URL",
        )
    if code in THROTTLED or status >= HTTPStatus.INTERNAL_SERVER_ERROR or code == "IDPCommunicationError":
        return DestinationUnavailable(f"{claim}: {service} fails for now: {reason}", code="unreachable")
    return DestinationRefused(
        f"{claim}: {service} answers {error.operation_name} with {reason}",
        code=CODE,
        hint=_hint(code, message, link, session) or hint,
    )


def _hint(code: str, message: str, link: str, session: AioSession) -> str:  # a table: one row, one return
    text = message.lower()
    if code in SKEWED or (code in SIGNATURE and ("expired" in text or "not yet current" in text)):
        return CLOCK_HINT
    if code in SIGNATURE:
        return "the secret access key does not belong to the access key id: set both again"
    if code == "RegionDisabledException":
        return "activate STS for this region in the account settings of IAM, or use another destination.region"
    if "durationseconds" in text:
        return "raise the maximum session duration of the role to 1 hour or more"
    if code in UNKNOWN_KEY:
        return (
            "create new keys, or use keys of the partition of destination.region"
            " (aws, aws-cn and aws-us-gov have separate keys); temporary keys also need their session token"
        )
    return _role_hint(code, link, session)


def _role_hint(code: str, link: str, session: AioSession) -> str:
    if link == WEB_IDENTITY:
        return _web_identity_hint(code, session)
    if code in EXPIRED:
        return "" if link == SSO else "renew these temporary credentials, or use a source that the SDK renews"
    if link == SSO:
        return "assign this account and permission set to the user in IAM Identity Center"
    if code in DENIED and link == ROLE:
        return (
            "allow sts:AssumeRole on it to this identity, name the identity in the role's trust policy,"
            " and set destination.external_id to what that policy requires"
        )
    if code in DENIED and link == PROFILE_ROLE:
        return "allow sts:AssumeRole on it, and name the source identity (and its external_id) in its trust policy"
    return ""


def _web_identity_hint(code: str, session: AioSession) -> str:
    role = web_identity_role(session)
    if code in EXPIRED:
        return "something has to renew the token in that file: recreate the pod or the job; check the clock too"
    if code in DENIED:
        return f"allow sts:AssumeRoleWithWebIdentity to this token's subject in the trust policy of {role}"
    if code == "InvalidIdentityToken":
        return "register the token's issuer as an OIDC provider in IAM, with the audience sts.amazonaws.com"
    return f"check {role}"
