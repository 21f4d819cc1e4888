// The AWS SDK for JavaScript v3, publishing. Its one argument is JSON: {url, region, keys, entries, inFlight}.
// Each line of its input is a number of seconds; it publishes for so long, and prints the entries per second.
const { createInterface } = require("node:readline");
const { Agent } = require("node:http");
const { EventBridgeClient, PutEventsCommand } = require("@aws-sdk/client-eventbridge");

const work = JSON.parse(process.argv[2]);
const entries = work.entries.map((entry) => ({ ...entry, Time: new Date(entry.Time) }));
const client = new EventBridgeClient({
  region: work.region,
  endpoint: work.url,
  credentials: { accessKeyId: work.keys[0], secretAccessKey: work.keys[1] },
  maxAttempts: 1,
  requestHandler: { httpAgent: new Agent({ keepAlive: true, maxSockets: work.inFlight }) },
});

async function rate(seconds) {
  const began = performance.now();
  let sent = 0;
  const keepSending = async () => {
    while (performance.now() - began < seconds * 1000) {
      await client.send(new PutEventsCommand({ Entries: entries }));
      sent += entries.length;
    }
  };
  await Promise.all(Array.from({ length: work.inFlight }, keepSending));
  return (sent / (performance.now() - began)) * 1000;
}

(async () => {
  for await (const line of createInterface({ input: process.stdin })) console.log(await rate(Number(line)));
})();
