// Answers every message with the same text, from the stream of events. Node 20, no packages.
//
// MIZZLE_URL    http://127.0.0.1:7654
// MIZZLE_TOKEN  a token with the scopes messages:read and messages:send

const url = need("MIZZLE_URL");
const token = need("MIZZLE_TOKEN");

/** An event; pass over types and fields that you do not know. */
type Event =
  | { type: "message_received"; cursor: number; contact: string; message_id: string; text: string }
  | { type: "gap"; cursor: number; missed: number }
  | { type: "other"; cursor: number };

/** An answer that is no success (RFC 9457). */
class Problem extends Error {
  constructor(readonly status: number, readonly code: string, detail: string) {
    super(detail);
  }
}

function need(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}`);
  return value;
}

async function ask(method: string, path: string, body?: unknown, accept?: string): Promise<Response> {
  const headers: Record<string, string> = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (accept) headers["accept"] = accept;
  const answer = await fetch(url + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) {
    const { code, detail } = (await answer.json()) as { code: string; detail: string };
    throw new Problem(answer.status, code, detail);
  }
  return answer;
}

/** The records of a stream of server-sent events: the lines that begin with `data:`. */
async function* records(stream: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6)) as Event;
    }
  }
}

/** Sends the answer. Its name comes from the message's, so sending twice sends once. */
async function echo(contact: string, messageId: string, text: string): Promise<void> {
  try {
    await ask("PUT", `/v1/contacts/${contact}/messages/echo-${messageId}`, { text: `echo: ${text}` });
  } catch (error) {
    if (!(error instanceof Problem) || ["outbox_full", "busy"].includes(error.code)) throw error;
    // The contact was removed, or the echo is too long: nothing will make it better.
    console.error("not answered:", error.code);
  }
}

async function run(): Promise<void> {
  // From behind what this token has acknowledged.
  const answer = await ask("GET", "/v1/events", undefined, "text/event-stream");
  if (!answer.body) return;
  for await (const event of records(answer.body)) {
    // Never answer another bot.
    if (event.type === "message_received" && !event.text.startsWith("echo: ")) {
      await echo(event.contact, event.message_id, event.text);
    } else if (event.type === "gap") {
      console.error("missed", event.missed, "events");
    }
    await ask("POST", "/v1/events/ack", { through: event.cursor });
  }
}

console.log("echo bot: ready");
for (;;) {
  try {
    await run();
  } catch (error) {
    if (error instanceof Problem && error.status === 401) throw new Error("the token was revoked");
    // The daemon is away: ask again.
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
