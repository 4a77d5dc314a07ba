#!/usr/bin/env bash
# Start ClickHouse with the hashes of its users' passwords in its environment, where users.d takes them from.
#   with-passwords.sh COMMAND…
# The passwords are the files clickhouse_writer_password and clickhouse_reader_password in $SECRETS_DIR (/run/secrets).
set -euo pipefail

hash_of() {
    local password
    password=$(<"${SECRETS_DIR:-/run/secrets}/$1")
    [[ -n $password ]] || { echo "with-passwords.sh: the secret $1 is empty" >&2; exit 1; }
    printf %s "$password" | sha256sum | cut -d ' ' -f 1
}

CLICKHOUSE_WRITER_SHA256=$(hash_of clickhouse_writer_password)
CLICKHOUSE_READER_SHA256=$(hash_of clickhouse_reader_password)
export CLICKHOUSE_WRITER_SHA256 CLICKHOUSE_READER_SHA256
exec "$@"
