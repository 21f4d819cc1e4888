"""The word lists that decide about names: words of secrets, and words of facts about a secret, such as its length."""

EXACT_NAMES = frozenset(
    """
    pass passwd pwd pswd psw pw setcookie sig sid connectsid phpsessid jsessionid aspsessionid sessid sess pin ssn
    cvv cvv2 cvc cvc2 otp totp bearer jwt hmac auth basicauth httpauth proxyauth xauth npmauth dsn salt assertion
    clientassertion samlresponse samlassertion keypairid googleaccessid policy0 forwarded xforwardedfor xrealip
    xclientip clientip remoteip remoteaddr remoteaddress ip ipaddress cfconnectingip trueclientip motdepasse awsid
    xoriginalforwardedfor mfacode otpcode verificationcode authcode authorizationcode recoverycode backupcode
    securitycode onetimecode twofactorcode pincode seedphrase mnemonic codeverifier kubeconfig connectionstring wsse
    appid asymmetrickey privkey
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Names that are secret as a whole, in lower case without punctuation. X-Api-Key, apiKey and api_key are one name."""

SECRET_WORDS = frozenset(
    """
    password passwd passphrase passcode passwort kennwort contraseña contrasena senha wachtwoord clave пароль 密码
    secret token credential cookie authorization signature csrf xsrf jwt otp totp pwd hmac bearer apikey passkey
    pswd cvv cvc sessionid sig
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words that make a name secret, unless another word makes it a fact about the secret."""

SECRET_KEY_WORDS = frozenset(
    """
    api access secret private signing sign encryption decryption encrypt decrypt master shared subscription auth
    session account storage service functions app application consumer integration license webhook deploy ssh rsa
    pgp gpg aes hmac jwt admin write ingest ingestion server sas cipher crypto root dkim instrumentation openai
    stripe anthropic sendgrid twilio google aws azure wallet mailgun mailchimp datadog relic algolia maps gemini pem
    tls ssl authentication bot team dd security merchant user x recovery symmetric pre preshared wep production live
    sandbox client device connection sharedaccess cert certificate
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words before `key` that make the name secret."""

PASSWORD_OWNERS = frozenset(
    """
    user db database my root admin smtp ftp sql mysql pg mail http proxy login auth new old app email imap ldap
    redis key keystore account basic postgres mongo service sftp wifi zip pdf store master cert client bind
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words before `pass` that make the name a password."""

SUFFIXES = frozenset(
    """
    value val string str text raw plain plaintext confirmation confirm repeat again new old current previous prev
    encoded base64 b64 hex header input param parameter data env test live prod production staging dev sandbox
    primary secondary backup main default copy temp tmp pem s v hash body
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words at the end of a name that are ignored, as in `secret_value` and `access_token_v2`."""

FACT_WORDS = frozenset(
    """
    required require requires policy policies changed at expires expiry expired expiration expire exp length len min
    minimum count counts name names arn type types rule rules strength valid invalid validation enabled disabled has
    is needs hint url uri endpoint path file filename last updated date time timestamp ttl lifetime duration limit
    limits usage used version manager store provider error errors message status label placeholder field fields
    reset format pattern index location symbol kind class method methods scope scopes algorithm alg issuer owner by
    on rotation rotated created attempts retries forgot ref reference refs page pagination next continuation cursor
    sync prompt completion total max cached reasoning budget remaining per num number size audience aud verified
    missing exists present set allowed ago seconds minutes hours days age details price cost rate consent banner
    sent domain samesite jar notice position line column offset estimate estimated estimator contract not found
    exception mismatch failure failed denied fault unavailable parser pool helper service0 module mode title
    description question response0 schema
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words that make a name a fact about a secret, a count, or a position in a list."""

TOKEN_COUNT_WORDS = frozenset(
    """
    input output generated audio thinking creation read context used text
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words beside `tokens` that make the name a count."""

NON_PASSWORD_WORDS = frozenset(
    """
    first second third last next single multi boarding season day ski rate per num number test tests check each by
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)
"""Words before `pass` with which the name is not a password."""
