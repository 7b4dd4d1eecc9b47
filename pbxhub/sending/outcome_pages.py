"""The page of an outcome beside its sentence and advice: why it happens, what the receiver has seen, what else helps,
one example. The table of outcomes itself is outcomes.py."""

from collections.abc import Mapping
from dataclasses import dataclass

_NOTHING = "Nothing: no request has left the hub."
_WHOLE = "The whole request. Its log has the time and the status that it answered."
_MAYBE = "Perhaps a connection, perhaps the request or a part of it. Its log shows which."
_AGAIN = "When the cause is gone, send the failed deliveries again on the page Webhook error check."


@dataclass(frozen=True, slots=True)
class Explanation:
    """cause: why it happens. seen: what the receiver has got. more: what helps beside the hint of the outcome."""

    cause: str
    seen: str
    example: str
    more: tuple[str, ...] = ()


EXPLANATIONS: Mapping[str, Explanation] = {
    "ok": Explanation(
        "The answer had a status from 200 to 299, or satisfied the success rule of the webhook.",
        _WHOLE,
        "A CRM answers 201 Created to a new lead.",
    ),
    "http_3xx": Explanation(
        "The address has moved, or the receiver sends everybody who is not signed in to its sign-in page. A "
        "redirect is not followed, because the second request would lose its method, its body or its "
        "credentials.",
        "The request at the former address, and nothing at the new one.",
        "http://crm.example.com/calls answers 301 with Location: https://crm.example.com/calls.",
        (
            "If the receiver expects a GET at the new address, as Google Apps Script does, choose “Follow one "
            "redirect with GET” in the webhook.",
            _AGAIN,
        ),
    ),
    "http_4xx": Explanation(
        "The receiver has read the request and refuses it: a key has expired, the path is wrong, a field is "
        "missing, or there are too many requests. Except for 408, 425 and 429, the hub does not repeat the "
        "request, because it would be refused again.",
        _WHOLE,
        'A CRM answers 401 with {"error": "invalid_token"}, because somebody has renewed its key.',
        ("Change the webhook, press Send test, then send the failed deliveries again with the current settings.",),
    ),
    "http_5xx": Explanation(
        "An error, an overload or maintenance at the receiver. The hub repeats the request as the retries of "
        "the webhook say.",
        _WHOLE,
        "A receiver answers 503 while it is being updated, and 200 ten minutes later.",
        (
            "If only some calls fail, compare one of them with a successful one: the page of a delivery shows "
            "the differences.",
        ),
    ),
    "check_failed": Explanation(
        "The success rule asks for a status, a text or a field that the answer does not have. Some systems "
        "answer 200 and say only in the body that they have refused.",
        _WHOLE,
        'The rule asks for "ok": true, and the receiver answers 200 with {"ok": false, "error": "channel_not_found"}.',
        ("If the receiver did accept the request, correct the success rule in the webhook.",),
    ),
    "steering_refused": Explanation(
        "A call waited for this answer. The answer is not valid JSON, has a field that does not exist, or "
        "names a number or a context that is not allowed.",
        _WHOLE,
        "The answer asks for +380671112233, but only extensions of three digits are allowed.",
        ("If the number is right, add it to the numbers that answers may call, under Call control.",),
    ),
    "dns_not_found": Explanation(
        "The host name in the URL has a typing error, its domain has expired, or the DNS server of this host "
        "does not know it.",
        _NOTHING,
        "https://crm.exmaple.com instead of https://crm.example.com.",
        (
            "A name of your own network needs a DNS server that knows it: ask whoever runs this server.",
            _AGAIN,
        ),
    ),
    "connect_refused": Explanation(
        "The host exists, but no program listens on the port, or a firewall refuses the connection at once.",
        "At most an attempt to connect; no request.",
        "The receiver listens on port 8443, and the URL has no port.",
        (_AGAIN,),
    ),
    "connect_timeout": Explanation(
        "Nothing answers at this address: the host is off, the route to it is broken, or a firewall drops the packets.",
        "At most an attempt to connect; no request.",
        "The CRM accepts only the addresses of the office, and the hub has moved to another server.",
        (_AGAIN,),
    ),
    "tls_error": Explanation(
        "The certificate has expired, is for another name, or comes from an authority that this server does "
        "not trust; or the receiver speaks only TLS 1.0 or 1.1. The hub never sends without checking the "
        "certificate.",
        "A connection that ends during the TLS handshake; no request.",
        "The certificate of crm.example.com ended yesterday: its renewal has failed.",
        (_AGAIN,),
    ),
    "deadline": Explanation(
        "The receiver accepts the request and then works longer than the time limit of the webhook before it answers.",
        "Usually the whole request; it may have done the work, and gets the request again at the next attempt.",
        "A script writes the call into three systems and answers after 40 seconds; the limit is 10.",
        ("A receiver that does the work twice should remember webhook-id, which is the same in every attempt.",),
    ),
    "reset": Explanation(
        "The receiver or something between it and the hub has closed the connection: a restart, an overload, "
        "a proxy, or a firewall that dislikes the content.",
        _MAYBE,
        "The application server is restarted while it handles the request.",
        (_AGAIN,),
    ),
    "too_many_headers": Explanation(
        "The hub reads at most 100 headers of an answer, and 64 KB of them.",
        _WHOLE,
        "A page sets the same cookie in a loop.",
        ("The receiver may have accepted the request: look there before you send it again.",),
    ),
    "blocked_target": Explanation(
        "The name leads to a private address, or to a port of the hub or of a database. Such addresses are "
        "closed, so that nobody can look around in the network behind this server.",
        _NOTHING,
        "The URL is http://192.168.1.20/calls, and no network is granted to the project.",
        ("For a receiver in your own network, ask the operator of this hub to grant your project that network.",),
    ),
    "not_sent_mandatory": Explanation(
        "A parameter of the webhook is marked as mandatory, and this call has no value for it.",
        _NOTHING,
        "A mandatory “email” is filled with <<employee_email>>, and nobody has answered the call.",
        ("Give the parameter a value for such calls: <<name|default:…>>.",),
    ),
    "render_error": Explanation(
        "A value does not fit where the webhook puts it: not a number where a number is needed, a text that "
        "makes the URL or a header invalid.",
        _NOTHING,
        "The host of the URL is <<custom.server>>, and this call has no such value.",
    ),
    "secret_unreadable": Explanation(
        "The hub was moved or restored without the key with which its secrets were encrypted.",
        _NOTHING,
        "The database was copied to a new server, and pbxhub was started there with a new key.",
        ("With many secrets, the operator should restore the old key: PBXHUB_SECRET_KEY takes several.",),
    ),
    "token_expired": Explanation(
        "A token of OAuth2 ended earlier than the provider had said, or was revoked there.",
        _WHOLE,
        "A colleague connects the same account of the CRM to another program, which ends the token of the hub.",
        (
            "If it happens all the time, reconnect on the page Connections: somebody may be using the same "
            "account elsewhere.",
        ),
    ),
    "token_refused": Explanation(
        "The consent was withdrawn, the password was changed, or the application was removed at the provider.",
        _NOTHING,
        "The employee whose account connected the CRM has left, and the account was closed.",
    ),
    "file_not_ready": Explanation(
        "Asterisk is still writing the recording, or mixes and converts it after the call.",
        _NOTHING,
        "A script turns recordings into MP3 once a minute.",
        ("If it stays so, look whether the recording of this call exists on the PBX at all.",),
    ),
    "file_gone": Explanation(
        "The PBX has named a file that is not in its recordings folder: it was deleted or moved, or the "
        "folder is another one on the host of the hub.",
        _NOTHING,
        "Recordings are moved to an archive every night, and the delivery was sent again a day later.",
        (_AGAIN,),
    ),
    "file_too_large": Explanation(
        "A recording is sent up to the limit of this hub, 100 MB unless its operator has set another.",
        _NOTHING,
        "A conference of five hours was recorded as WAV.",
    ),
    "file_refused": Explanation(
        "The recording has an address at a web server of the PBX, which did not answer 200.",
        _NOTHING,
        "The web interface of the PBX answers 401, because it asks for a password.",
        (_AGAIN,),
    ),
    "file_unreadable": Explanation(
        "The operating system refuses to read the file.",
        _NOTHING,
        "Recordings belong to the user asterisk with the mode 0600, and the hub runs as pbxhub.",
        (_AGAIN,),
    ),
    "bad_answer": Explanation(
        "What listens there is no web server, or it expects the other one of http and https.",
        _MAYBE,
        "The URL is http://crm.example.com:443.",
    ),
    "gone": Explanation(
        "410 is how a receiver asks never to be called at this address again, so the hub stops at once.",
        _WHOLE,
        "The scenario of an automation service was deleted.",
    ),
    "worker_lost": Explanation(
        "The hub was stopped hard, its host lost power, or the process ran out of memory while the request "
        "was under way.",
        _MAYBE,
        "The host was restarted during a call.",
        ("If it happens again and again, look at the log of the hub and at the memory of its host.",),
    ),
    "restored": Explanation(
        "The delivery was pending when the backup was made. Nobody knows what the former hub has sent after that.",
        "Perhaps the request, from the former hub.",
        "The backup is from 03:00, the disk failed at 09:00.",
        ("A receiver that remembers webhook-id can get everything again: it leaves out what it has.",),
    ),
    "skipped": Explanation(
        "A parameter of the webhook is marked as mandatory, and the webhook is set to skip calls without it.",
        _NOTHING,
        "A webhook for calls from advertising needs <<utm_source>>, and this caller has none.",
        ("If such calls should count as failed, choose so in the webhook under “If a mandatory field is empty”.",),
    ),
    "cancelled": Explanation(
        "The delivery waited for a retry, a pause or its delay when somebody deleted the webhook or switched it off.",
        "Nothing more; earlier attempts, if there were any, are on the page of the delivery.",
        "A webhook was switched off over the weekend with 40 retries waiting.",
        ("Switch the webhook on again and send the delivery from its page.",),
    ),
}
"""By the code of the outcome."""
