#!/bin/sh
# Makes the certificates of a broker and its clients, with openssl alone.
#
#   certs.sh DIR ca                       once: the authority that signs all others
#   certs.sh DIR broker HOST [HOST...]    broker.crt and .key, for each name and address that clients use
#   certs.sh DIR client NAME              NAME.crt and .key; NAME is what the ACL calls it (a site's ven)
#   certs.sh DIR revoke NAME              no longer trusted, once the broker has the new ca.crl: every one
#                                         ever made for NAME, so make the next one after this, not before
#
# DIR holds the authority's key: keep it on neither the broker nor a controller. The broker gets ca.crt,
# ca.crl, broker.crt and broker.key; a client gets ca.crt and its own two files; nobody gets ca.key.
set -eu
umask 077

die() { echo "certs.sh: $*" >&2; exit 1; }

[ $# -ge 2 ] || die "usage: certs.sh DIR ca | broker HOST... | client NAME | revoke NAME"
dir=$1 verb=$2
shift 2
mkdir -p "$dir"
cd "$dir"

settings() {
    cat <<EOF
[ca]
default_ca = site
[site]
database = index.txt
serial = serial
new_certs_dir = issued
certificate = ca.crt
private_key = ca.key
default_md = sha256
default_days = 825
# A list that has run out makes the broker refuse everybody.
default_crl_days = 7300
unique_subject = no
policy = named
[named]
commonName = supplied
[req]
distinguished_name = none
[none]
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[broker]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = ${names:-DNS:none.invalid}
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EOF
}

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# sign FILE KIND COMMON-NAME
sign() {
    [ -e ca.key ] || die "no authority in $dir yet: run '$0 $dir ca' first"
    settings >settings.cnf
    new_key "$1.key"
    openssl req -new -config settings.cnf -key "$1.key" -subj "/CN=$3" -out "$1.csr"
    openssl ca -batch -notext -config settings.cnf -extensions "$2" -in "$1.csr" -out "$1.crt" 2>openssl.log ||
        die "$(cat openssl.log)"
    rm "$1.csr"
}

revocations() { openssl ca -config settings.cnf -gencrl -out ca.crl 2>openssl.log || die "$(cat openssl.log)"; }

named() {
    case $1 in
    '' | *[!A-Za-z0-9_-]*) die "a name has letters, digits, _ and - only, not '$1'" ;;
    esac
}

case $verb in
ca)
    [ ! -e ca.key ] || die "$dir has an authority already; a new one would strand every certificate it made"
    mkdir -p issued
    : >index.txt
    openssl rand -hex 16 >serial
    settings >settings.cnf
    new_key ca.key
    openssl req -new -x509 -config settings.cnf -extensions authority -key ca.key -days 7300 \
        -subj "/CN=wattshift $(openssl rand -hex 4)" -out ca.crt
    revocations
    ;;
broker)
    [ $# -ge 1 ] || die "broker needs the names or addresses that clients use"
    first=$1 names=
    for host; do
        case $host in
        *[!0-9.]*) kind=DNS ;;
        *) kind=IP ;;
        esac
        case $host in *:*) kind=IP ;; esac
        names="$names${names:+,}$kind:$host"
    done
    sign broker broker "$first"
    ;;
client)
    [ $# -eq 1 ] || die "client needs one name"
    named "$1"
    case $1 in ca | broker) die "'$1' is taken" ;; esac
    sign "$1" client "$1"
    ;;
revoke)
    [ $# -eq 1 ] || die "revoke needs one name"
    named "$1"
    serials=$(awk -F '\t' -v subject="/CN=$1" '$1 == "V" && $6 == subject { print $4 }' index.txt)
    [ -n "$serials" ] || die "no valid certificate of '$1' was made in $dir"
    for serial in $serials; do
        openssl ca -config settings.cnf -revoke "issued/$serial.pem" 2>openssl.log || die "$(cat openssl.log)"
    done
    revocations
    ;;
*) die "unknown: $verb" ;;
esac
