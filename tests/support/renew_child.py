"""A process that renews one token, for the test that kills it.

python -m tests.support.renew_child DATABASE_URL PORT
"""

import sys
from datetime import UTC, datetime

from pbxhub.delivery.renewals import RenewalMetrics, renew_due
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.sender import Sender
from pbxhub.store.session import open_database
from tests.support.outbox_world import context_of

if __name__ == "__main__":
    url, port = sys.argv[1:]
    guard = AddressGuard(allowed_endpoints=endpoints("127.0.0.1", int(port)))
    renew_due(context_of(open_database(url)), Sender(guard), datetime.now(UTC), RenewalMetrics())
