#!/bin/sh
# How this folder was written, with the command of version 0.1.0 on PATH. It is kept for the record: what it wrote is
# never written again, as nobody can make a 0.1.0 that has not been made.
set -eu
umask 077
FIXTURE_PHRASE='of no use to anybody but this test'
export FIXTURE_PHRASE
strongroom init keyed
mv keyed/master.key keyed/opener.txt
mv keyed/secrets.db keyed/store.db
rm keyed/.gitignore
head -c 32 /dev/urandom | base64 >keyed/seal.txt
cat >keyed/strongroom.toml <<'END'
backend = "local"
principal = "maker"

[backends.local]
type = "local"
path = "store.db"
master_key = { file = "opener.txt" }
keep_versions = 4

[cache]
policy = "ttl"
ttl = "300s"
jitter = 0.1
negative_ttl = "5s"
max_entries = 1000

[[audit]]
type = "jsonl"
path = "trail.jsonl"
key = { file = "seal.txt" }
max_bytes = "16KiB"
required = true
immediate = ["text/**"]

[[policies]]
principal = "maker"
effect = "allow"
actions = ["*"]
names = ["**"]

[[policies]]
principal = "maker"
effect = "allow"
actions = ["impersonate"]
names = ["reader"]

[[policies]]
principal = "reader"
effect = "allow"
actions = ["read", "list"]
names = ["text/*"]
END
cd keyed
printf 'a value of letters' | strongroom set text/plain
printf 'Grüße aus Zürich \360\237\224\221\nsecond line\n' | strongroom set 'text/zürich'
strongroom set text/empty </dev/null
printf '{"user": "app", "port": 5432}' | strongroom set text/object
printf '\000\001\377\376binary\r\n\000' | strongroom set bytes/short --binary
seq 2000 | strongroom set bytes/long --binary
for number in 1 2 3 4 5 6; do printf 'number %s' "$number" | strongroom set counted/six; done
printf gone | strongroom set deleted/one
strongroom delete deleted/one
printf before | strongroom set deleted/again
strongroom delete deleted/again
printf after | strongroom set deleted/again
printf 'to be rotated' | strongroom set rotated/text
strongroom rotate rotated/text --encoding base64url
strongroom rotate rotated/text --bytes 16 --encoding hex
printf 'A=one\nB="two words"\n' | strongroom import - --prefix imported/
strongroom local backup ../early-backup.db
strongroom rekey
printf 'written after the key was changed' | strongroom set rekeyed/once
mv opener.txt.old ../early-opener.txt
strongroom rekey --reencrypt
printf 'written after all was encrypted anew' | strongroom set rekeyed/twice
# What it answered for each version that was kept: name, version, value in base64.
for name in $(strongroom list); do
    for version in $(strongroom versions "$name" --json | sed -n 's/.*"version": "\([0-9]*\)".*/\1/p'); do
        printf '%s %s %s\n' "$name" "$version" "$(strongroom get "$name" --version "$version" | base64 -w 0)"
    done
done >../values.txt
strongroom get text/plain >/dev/null
strongroom --as reader get text/plain >/dev/null
strongroom --as reader get bytes/short >/dev/null || true
strongroom get missing/name || true
strongroom run --secret text/plain -- true
gzip trail.jsonl.from-000000000001
strongroom local verify
strongroom local backup ../late-backup.db
strongroom audit verify
strongroom audit head >../noted-head.txt

cd ..
strongroom init phrased --passphrase-env FIXTURE_PHRASE
mv phrased/secrets.db phrased/store.db
rm phrased/.gitignore
cd phrased
cat >strongroom.toml <<'END'
[backends.local]
type = "local"
path = "store.db"
passphrase = { env = "FIXTURE_PHRASE" }

[[audit]]
type = "jsonl"
path = "trail.jsonl"
END
printf 'behind a passphrase' | strongroom set only/one
printf 'its second version' | strongroom set only/one
strongroom audit verify
