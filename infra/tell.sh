#!/bin/sh
# tell.sh SENTENCE COMMAND...: runs COMMAND, and says every few seconds what goes on. Nothing is said in quiet mode.
set -eu
sentence=$1
shift
case ${CALANQUE_QUIET:-} in "" | 0 | [Ff]alse | [Nn]o) ;; *) exec "$@" ;; esac
began=$(date +%s)
echo "$sentence ..." >&2
while sleep 5 </dev/null >/dev/null 2>&1; do echo "  $sentence: $(($(date +%s) - began)) s" >&2; done &
ticker=$!
trap 'kill "$ticker" 2>/dev/null' EXIT
"$@"
