#!/usr/bin/env bash
# Make a password for every secret of docker-compose.yml that has none yet, in deploy/secrets.
set -euo pipefail

cd "$(dirname "$0")"
umask 077
mkdir -p secrets
echo '*' > secrets/.gitignore
for name in clickhouse_writer_password clickhouse_reader_password grafana_admin_password; do
    [[ -e secrets/$name ]] && continue
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
    # Each container reads its own as a user of its own; from outside, only through this directory, which is ours alone.
    chmod 444 "secrets/$name"
    echo "made deploy/secrets/$name"
done
