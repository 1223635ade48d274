#!/usr/bin/env python3
"""Answers every message with the same text. Standard library only.

MIZZLE_URL    http://127.0.0.1:7654
MIZZLE_TOKEN  a token with the scopes messages:read and messages:send
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ["MIZZLE_URL"]
TOKEN = os.environ["MIZZLE_TOKEN"]


def ask(method, path, body=None, timeout=30):
    """One request. Returns the answer's JSON; raises urllib.error.HTTPError for a problem."""
    request = urllib.request.Request(URL + path, method=method)
    request.add_header("Authorization", "Bearer " + TOKEN)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def echo(event):
    """Sends the answer. Its name comes from the message's, so sending twice sends once."""
    path = "/v1/contacts/{contact}/messages/echo-{message_id}".format(**event)
    try:
        ask("PUT", path, {"text": "echo: " + event["text"]})
    except urllib.error.HTTPError as error:
        code = json.load(error)["code"]
        if code in ("outbox_full", "busy"):  # later
            raise
        # The contact was removed, or the echo is too long: nothing will make it better.
        print("not answered:", code, file=sys.stderr)


def run():
    while True:
        # From behind what this token has acknowledged; waits up to 25 s for something.
        page = ask("GET", "/v1/events?wait=25&limit=50", timeout=60)
        for event in page["events"]:
            # Pass over types that you do not know, and never answer another bot.
            if event["type"] == "message_received" and not event["text"].startswith("echo: "):
                echo(event)
            if event["type"] == "gap":
                print("missed", event["missed"], "events", file=sys.stderr)
            ask("POST", "/v1/events/ack", {"through": event["cursor"]})


if __name__ == "__main__":
    print("echo bot: ready", flush=True)
    while True:
        try:
            run()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                sys.exit("the token was revoked")
            time.sleep(1)
        except OSError:  # the daemon is away
            time.sleep(1)
