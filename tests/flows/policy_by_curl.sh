#!/bin/sh
# A policy built, tried, applied, read back, changed and rolled back, with nothing but curl and a key.
#
#   policy_by_curl.sh https://shop.example.com/pulse/api/v1 "$KEY" policy.json workdir
set -eu
base=$1 key=$2 document=$3 here=$4

call() { # call METHOD PATH OUTPUT [curl's own ...]: prints the status
    method=$1 path=$2 output=$3
    shift 3
    curl --silent --show-error --output "$here/$output" --dump-header "$here/$output.headers" \
        --write-out '%{http_code}' --request "$method" \
        --header "Authorization: Bearer $key" --header 'Content-Type: application/json' \
        "$@" "$base/$path"
}

expect() { # expect STATUS METHOD PATH OUTPUT [...]
    wanted=$1
    shift
    status=$(call "$@")
    [ "$status" = "$wanted" ] || {
        echo "$1 $2: $status instead of $wanted" >&2
        cat "$here/$3" >&2
        exit 1
    }
}

header() { # header OUTPUT NAME
    sed -n "s/^$2: *//Ip" "$here/$1.headers" | tr -d '\r'
}

expect 200 GET policy/ before.json
before=$(header before.json ETag | tr -d '"')

# Try it: nothing changes.
expect 200 PUT 'policy/?prune=1&dry_run=1' tried.json --data-binary "@$document"
expect 304 GET policy/ same.json --header "If-None-Match: \"$before\""

# Apply it, unless somebody else was faster; read the same document back; apply it again.
expect 200 PUT 'policy/?prune=1&reason=Release+4.2' applied.json \
    --data-binary "@$document" --header "If-Match: \"$before\""
expect 412 PUT 'policy/?prune=1' late.json \
    --data-binary "@$document" --header "If-Match: \"$before\""
expect 200 GET policy/ after.json
expect 200 PUT 'policy/?prune=1' again.json --data-binary "@$here/after.json"

# One rule by itself, sent twice as a script does that lost the answer; changed, deleted.
expect 201 POST 'endpoint-limits/?reason=Busy' made.json --header 'Idempotency-Key: walk-1' \
    --data '{"name": "search", "path": "/api/search/", "limits": ["20/s"]}'
expect 201 POST 'endpoint-limits/?reason=Busy' made-again.json --header 'Idempotency-Key: walk-1' \
    --data '{"name": "search", "path": "/api/search/", "limits": ["20/s"]}'
rule=$(sed 's/.*"id":"\([0-9]*\)".*/\1/' "$here/made.json")
expect 200 PATCH "endpoint-limits/$rule/" changed.json --data '{"limits": ["10/s"]}' \
    --header "If-Match: $(header made.json ETag)"
expect 204 DELETE "endpoint-limits/$rule/" deleted.json

# All back to where it began.
expect 200 GET "revisions/$(header applied.json X-Pulse-Revision)/diff/?to=$before" diff.json
expect 200 POST "revisions/$before/rollback/?reason=Too+early" rolled.json
expect 200 GET policy/ rolled-back.json
