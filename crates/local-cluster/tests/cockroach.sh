#!/bin/sh
# Takes the place of `cockroach`. Like version 21.2, it has no setting for the iterations of SCRAM and
# no variable that allows `crdb_internal`. Like all versions, it reads variables such as
# `COCKROACH_INSECURE`, and it rejects unknown flags. It answers while its process lives. The answer to
# `init` is lost once, and the ranges are replicated at the third look. It records its calls, each with
# its process id.
calls=$(dirname "$0")/calls
input=
case "$*" in
    *' -e '*) ;;
    sql*) input="$(cat) " ;;
esac
echo "$(printf '%s ' "$@" | tr '\n' ' ')$input--cwd=$PWD $$" >>"$calls"
count() { grep -c "^$1" "$calls"; }
fail() { echo "ERROR: $1" >&2; exit 1; }
[ -z "$COCKROACH_INSECURE" ] || fail "--insecure and --certs-dir"
case "$1" in
    version) echo v21.2.17; exit ;;
    start) flags='certs-dir|store|listen-addr|http-addr|join|cache|max-sql-memory' ;;
    start-single-node) flags='certs-dir|store|listen-addr|http-addr' ;;
    init) flags='certs-dir|host' ;;
    sql) flags='certs-dir|host|format' ;;
esac
! printf '%s\n' "$@" | grep -e ^-- | grep -qvE "^--($flags)=" || fail "unknown flag"
host=$(printf '%s\n' "$@" | sed -n 's/^--host=//p')
case "$*" in
    start*) exec sleep 600 ;;
    init*)
        [ "$(count 'start ')" = 3 ] || fail "cannot dial server"
        [ "$(count init)" -gt 2 ] || fail "the answer is lost"
        fail "cluster has already been initialized"
        ;;
    *'SET CLUSTER SETTING '*) fail "unknown cluster setting 'server.user_login'" ;;
    *allow_unsafe_internals*) fail "unrecognized configuration parameter" ;;
    *ranges_no_leases*) [ "$(count 'sql.*ranges_no_leases')" -lt 6 ] || echo replicated ;;
esac
kill -0 "$(sed -n "/^start.*--listen-addr=$host /s/.* //p" "$calls" | tail -n 1)"
