// icekit.js's Delivery as a program: a JSON array of calls in each line, and one with what it wants to send and has received.

import {createInterface} from "node:readline";

const {decode, Delivery, encode} = await import(process.env.ICEKIT_JS);
const delivery = new Delivery("browser", "b1");

for await (const line of createInterface({input: process.stdin})) {
  for (const [name, ...values] of JSON.parse(line)) {
    if (name === "receive") delivery.receive(decode(values[0]), values[1]);
    else delivery[name](...values);
  }
  const answer = {send: delivery.messagesToSend().map(encode), received: delivery.receivedMessages(), timer: delivery.getTimer()};
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
