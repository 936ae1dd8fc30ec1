#!/bin/sh
# Whether all servers of this host serve.
set -eu
# shellcheck source=/dev/null
. /etc/chatty/host
i=0
while [ "$i" -lt "$CHATTY_PROCESSES" ]; do
  curl -fsS -m 5 "http://127.0.0.1:$((@OPERATIONS_PORT@ + i))/readyz"
  i=$((i + 1))
done
