#!/bin/sh
# Sends a message to a contact and prints the first answer. Needs curl and sed.
#
#   chat.sh NAME TEXT [SECONDS]      how long to wait, 120 by default
#
# MIZZLE_URL    http://127.0.0.1:7654
# MIZZLE_TOKEN  the owner's token, or one with messages:read and messages:send
set -eu

name=$1 text=$2 left=${3:-120}

ask() { # method, path, JSON or nothing
    if [ $# -gt 2 ]; then
        curl -sS --fail-with-body -X "$1" -H "Authorization: Bearer $MIZZLE_TOKEN" \
            -H 'Content-Type: application/json' -d "$3" "$MIZZLE_URL$2"
    else
        curl -sS --fail-with-body -X "$1" -H "Authorization: Bearer $MIZZLE_TOKEN" "$MIZZLE_URL$2"
    fi
}

# A text as JSON: backslashes and quotes are escaped (line breaks are not allowed here).
quote() { printf '"%s"' "$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

# Objects that hold no objects, one a line.
objects() { sed 's/},{/}\n{/g'; }

# The value of a field of text, as JSON writes it.
field() { sed -nE "s/.*\"$1\":\"(([^\"\\\\]|\\\\.)*)\".*/\\1/p"; }

contact=$(ask GET '/v1/contacts?limit=200' | objects | grep -F "\"name\":$(quote "$name")" |
    sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p' | head -n 1)
[ -n "$contact" ] || { echo "no contact $name" >&2; exit 1; }

# Where the log ends now: the answer comes behind it.
after=$(ask GET /v1/status | sed -n 's/.*"events_last":\([0-9]*\).*/\1/p')

# A name of our own makes it safe to ask again: the same name is the same message.
id=$(date +%s)-$$
until ask PUT "/v1/contacts/$contact/messages/$id" "{\"text\":$(quote "$text")}" >/dev/null; do
    sleep 1
done

deadline=$(($(date +%s) + left))
while [ "$(date +%s)" -lt "$deadline" ]; do
    # One event at a time, waited for up to 20 s.
    page=$(ask GET "/v1/events?after=$after&wait=20&limit=1")
    after=$(printf '%s' "$page" | sed -n 's/.*"next":\([0-9]*\)}$/\1/p')
    case $page in
    *'"type":"message_received"'*)
        if [ "$(printf '%s' "$page" | field contact)" = "$contact" ]; then
            printf '%s\n' "$page" | field text
            exit 0
        fi
        ;;
    esac
done
echo "no answer within $left s" >&2
exit 1
