#!/usr/bin/env bash
# Make sure that a system tool is there: install its package where we may, else say which one is missing.
#   need.sh mvn
#   need.sh venv PYTHON
set -euo pipefail

have() {
    case $1 in
        mvn) command -v mvn >/dev/null ;;
        chromium) command -v chromium >/dev/null ;;
        openssl) command -v openssl >/dev/null ;;
        venv) "${2:-python3}" -c 'import ensurepip, venv' 2>/dev/null ;;
    esac
}

case $1 in
    mvn) packages=(maven) ;;
    chromium) packages=(chromium fonts-dejavu-core) ;;
    openssl) packages=(openssl) ;;
    venv) packages=(python3-venv) ;;
    *) echo "need.sh: unknown tool: $1" >&2; exit 2 ;;
esac

have "$@" && exit 0
if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    install=(apt-get install -y -qq --no-install-recommends "${packages[@]}")
    { "${install[@]}" || { apt-get update -qq && "${install[@]}"; }; } >/dev/null || true
    have "$@" && exit 0
fi
echo "$1 is missing: install the system package '${packages[0]}' and run make again" >&2
exit 1
