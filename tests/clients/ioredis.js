// ioredis, unmodified, against one server (node ioredis.js alone PORT) or a cluster (node ioredis.js shards PORT).
// Called by test_ioredis.py with NODE_PATH set to where ioredis lies; any failed assertion ends it with code 1.
"use strict";
const assert = require("node:assert");
const Redis = require("ioredis");

const [kind, port] = [process.argv[2], Number(process.argv[3])];

async function both(client) {
  assert.equal(await client.set("k", "v", "EX", 100), "OK");
  assert.equal(await client.get("k"), "v");
  await client.hset("hash", { f: "1", g: "zwei" });
  assert.deepEqual(await client.hgetall("hash"), { f: "1", g: "zwei" });
  await client.zadd("board", 1, "a", 2.5, "b");
  assert.deepEqual(await client.zrevrange("board", 0, -1, "WITHSCORES"), ["b", "2.5", "a", "1"]);
  const id = await client.xadd("stream", "*", "field", "value");
  assert.deepEqual(await client.xrange("stream", "-", "+"), [[id, ["field", "value"]]]);
  assert.deepEqual(await client.multi().incr("{t}n").incr("{t}n").exec(), [[null, 1], [null, 2]]);
  client.defineCommand("addUp", { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1]) + ARGV[2]" });
  assert.equal(await client.addUp("sum", 5, 100), 105);
  await Promise.all(Array.from({ length: 500 }, (_, number) => client.set(`many:${number}`, number)));
  assert.equal(await client.get("many:499"), "499");
  await assert.rejects(client.incr("hash"), /WRONGTYPE/);
}

async function alone() {
  const client = new Redis(port);
  await client.flushall();
  await both(client);
  const replies = await client.pipeline(Array.from({ length: 1000 }, (_, n) => ["echo", String(n)])).exec();
  assert.deepEqual(replies.map(([, value]) => value), Array.from({ length: 1000 }, (_, n) => String(n)));
  const subscriber = new Redis(port);
  await subscriber.subscribe("news");
  const heard = new Promise((resolve) => subscriber.on("message", (...words) => resolve(words)));
  await client.publish("news", "hello");
  assert.deepEqual(await heard, ["news", "hello"]);
  const waiter = new Redis(port);
  const popped = waiter.blpop("queue", 10);
  await client.rpush("queue", "job");
  assert.deepEqual(await popped, ["queue", "job"]);
  const found = [];
  for await (const keys of client.scanStream({ match: "many:*", count: 100 })) found.push(...keys);
  assert.equal(new Set(found).size, 500);
  const sentinel = await client.getBuffer("k");
  assert.deepEqual(sentinel, Buffer.from("v"));
  for (const each of [client, subscriber, waiter]) each.disconnect();
}

async function shards() {
  const cluster = new Redis.Cluster([{ host: "127.0.0.1", port }]);
  await Promise.all(cluster.nodes("master").map((node) => node.flushall()));
  await both(cluster);
  assert.equal(cluster.nodes("master").length, 3);
  const sizes = await Promise.all(cluster.nodes("master").map((node) => node.dbsize()));
  assert.ok(sizes.every((size) => size > 100), `keys on each shard: ${sizes}`);
  cluster.disconnect();
}

(kind === "alone" ? alone() : shards()).then(
  () => console.log("ioredis works"),
  (error) => { console.error(error); process.exit(1); },
);
