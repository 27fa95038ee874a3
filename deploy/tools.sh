#!/bin/sh
# Make sure that programs the tests use are there: `tools.sh PROGRAM:PACKAGE ...`
# Installs missing Debian packages where it may. Otherwise it names them: their tests are skipped, except
# with CI=true, where a missing program is an error.
set -u
PATH="$PATH:/usr/sbin:/sbin"
missing=""
packages=""
for pair in "$@"; do
    if ! command -v "${pair%%:*}" >/dev/null 2>&1; then
        missing="$missing ${pair%%:*}"
        packages="$packages ${pair#*:}"
    fi
done
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null 2>&1; then
    root=""
    [ "$(id -u)" = 0 ] || root="sudo -n"
    # shellcheck disable=SC2086 # words on purpose
    $root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $packages
fi >/dev/null 2>&1
left=""
for program in $missing; do
    command -v "$program" >/dev/null 2>&1 || left="$left $program"
done
[ -n "$left" ] || exit 0
echo "not installed and not installable here:$left" >&2
[ "${CI:-}" = true ] && exit 1
echo "the tests that use them are skipped" >&2
exit 0
