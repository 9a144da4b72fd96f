import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import test from "node:test";
import {icekit} from "./module.mjs";

const {askServer, codeOfError, conclude, diagnose, entriesOf, findingOf, findingsOf, observe} = icekit;
// What the server gives to the page.
const catalogue = JSON.parse(readFileSync(process.env.ICEKIT_CATALOGUE, "utf8"));

const candidate = (type, address, port = 5000, related = ["192.168.1.2", 4000]) => ({
  type, address, port, transport: "udp", relatedAddress: related[0], relatedPort: related[1], tcpType: null, milliseconds: 20,
});

/** The result of asking one server: `mapped` addresses, a `relayed` one, errors as [code, text]. */
function server(url, {mapped = [], relayed = null, unmapped = false, errors = [], seconds = 0.02, ok = null, username = "u"} = {}) {
  const [entry] = entriesOf([{urls: url, ...(url.startsWith("turn") ? {username, credential: "p"} : {})}]);
  const candidates = relayed ? [candidate("relay", relayed)] : mapped.map(([address, port]) => candidate("srflx", address, port));
  return {
    entry, candidates, mapped: entry.turn ? [] : candidates, unmapped, errors: errors.map(([errorCode, errorText = ""]) => ({errorCode, errorText, url})),
    seconds, ok: ok ?? (candidates.length > 0 || unmapped), rtt: null, stunOnly: false,
  };
}

const SILENT = {errors: [[701, "STUN binding request timed out."]], seconds: 9.5};
const SILENT_TURN = {errors: [[701, "TURN allocate request timed out."]], seconds: 9.5};
const UNRESOLVED = {errors: [[701, "STUN host lookup received error."]]};
const one = server("stun:198.51.100.1", {mapped: [["203.0.113.5", 6000]]});
const two = server("stun:198.51.100.2", {mapped: [["203.0.113.5", 6000]]});
const other = server("stun:198.51.100.2", {mapped: [["203.0.113.5", 6001]]});
const relay = server("turn:198.51.100.1", {relayed: "198.51.100.1"});
const same = [candidate("srflx", "203.0.113.5", 6000)];
const differing = [...same, candidate("srflx", "203.0.113.5", 6001)];

for (const [what, servers, together, expected, verdict] of [
  ["a usual router", [one, two, relay], same, "yes endpoint-independent udp many", "OK"],
  ["a usual router, no relay", [one, two], same, "yes endpoint-independent unset many", "DIRECT-ONLY"],
  ["a symmetric NAT", [one, other, relay], differing, "yes dependent udp many", "RELAY-ONLY"],
  ["a symmetric NAT, no relay", [one, other], differing, "yes dependent unset many", "DIRECT-ONLY"],
  ["one server does not tell", [one], [], "yes unknown unset one", "UNKNOWN"],
  ["no NAT", [server("stun:198.51.100.1", {unmapped: true})], [], "yes none unset one", "DIRECT-ONLY"],
  ["UDP is blocked", [server("stun:198.51.100.1", SILENT), server("turns:198.51.100.1:443", {relayed: "198.51.100.1"})], [], "no unknown tls one", "UDP-BLOCKED"],
  ["UDP is blocked, no relay", [server("stun:198.51.100.1", SILENT), server("stun:198.51.100.2", SILENT)], [], "no unknown unset many", "BLOCKED"],
  ["one silent server", [server("stun:198.51.100.1", SILENT)], [], "unknown unknown unset one", "UNKNOWN"],
  ["no name is known", [server("stun:stun.example.org", UNRESOLVED)], [], "unknown unknown unset unresolved", "UNKNOWN"],
  ["no servers", [], [], "unknown unknown unset none", "UNKNOWN"],
  ["a relay that refuses answers, so UDP passes", [server("turn:198.51.100.1", {errors: [[401, "Unauthorized"]]})], [], "yes unknown broken one", "UNKNOWN"],
]) {
  test(`${what}: ${expected}`, () => {
    const observed = observe(servers, together);
    assert.equal(Object.values(observed).join(" "), expected);
    assert.equal(conclude(observed, catalogue).verdict.code, verdict);
  });
}

test("offline", () => {
  const observed = observe([server("stun:stun.example.org", UNRESOLVED)], [], {online: false});
  assert.equal(observed.asked, "offline");
  assert.equal(conclude(observed, catalogue).verdict.code, "BLOCKED");
});

test("hidden bases: only more addresses than one server saw show a dependent mapping", () => {
  const hide = (items) => items.map((item) => ({...item, relatedAddress: "0.0.0.0", relatedPort: 0}));
  assert.equal(observe([one, two], hide(same)).nat, "endpoint-independent");
  assert.equal(observe([one, other], hide(differing)).nat, "dependent");
});

test("two names of one operator may be one machine: nothing is told", () => {
  const google = ["stun1", "stun2"].map((name) => server(`stun:${name}.l.google.com:19302`, {mapped: [["203.0.113.5", 6000]]}));
  assert.equal(observe(google, same).nat, "unknown");
});

test("every case has its verdict and its outlook", () => {
  const {verdicts, outlooks, by} = catalogue.conclusions;
  for (const udp of ["yes", "no", "unknown"]) for (const nat of ["none", "endpoint-independent", "dependent", "unknown"])
    for (const relay of ["unset", "broken", "udp", "tcp", "tls"]) for (const asked of ["many", "one", "none", "unresolved", "offline"]) {
      const {verdict, outlook} = conclude({udp, nat, relay, asked}, catalogue);
      assert.ok(verdict.summary.endsWith("."));
      assert.equal(outlook.length, 4);
    }
  assert.ok(verdicts.length < 40 && outlooks.length < 40);
  assert.equal(Object.keys(by).length, 300);
});

const found = (servers, together = [], unixTime = 1_700_000_000) => findingsOf(servers, observe(servers, together), catalogue, unixTime);
const codes = (...args) => found(...args).map(({code}) => code);

test("findings, and what must not trigger them", () => {
  assert.deepEqual(codes([one, two, relay], same), []);
  assert.deepEqual(codes([one, two], same), ["ICE001"]);
  assert.deepEqual(codes([one, relay]), ["ICE003"]);
  assert.deepEqual(codes([server("stun:198.51.100.1", {unmapped: true}), relay]), ["ICE022"]);
  assert.deepEqual(codes([one, two, relay, server("stun://x")], same), ["ICE018"]);
  assert.deepEqual(codes([one, two, relay, server("stun:198.51.100.3", {...SILENT, seconds: 0.02})], same), ["ICE008"]);
  assert.deepEqual(codes([one, two, relay, server("stun:198.51.100.3", SILENT)], same), ["ICE012", "ICE008"]);
  assert.deepEqual(codes([one, two, relay, one, two], same), ["ICE015"]);
  const shared = server("stun:198.51.100.1", {mapped: [["100.64.0.5", 6000]]});
  assert.deepEqual(codes([shared, relay]), ["ICE007", "ICE003"]);
  const inside = server("stun:10.0.0.1", {mapped: [["10.0.0.5", 6000]]});
  assert.deepEqual(codes([inside, relay]), ["ICE003"]);
  const withUser = server("stun:198.51.100.1", {mapped: [["203.0.113.5", 6000]]});
  assert.deepEqual(codes([{...withUser, entry: {...withUser.entry, username: "u"}}]), ["ICE021", "ICE003"]);
  const ends = (seconds) => codes([one, two, server("turn:198.51.100.1", {relayed: "198.51.100.1", username: `${1_700_000_000 + seconds}:u`})], same);
  assert.deepEqual(ends(600), ["ICE016"]);
  assert.deepEqual(ends(86_400), []);
});

test("a TURN server that fails says why, and what to do", () => {
  const turn = (more, url = "turn:turn.example.org") => {
    const [finding] = found([one, two, server(url, more)], same);
    return finding;
  };
  const cases = [
    [{errors: [[401, "Unauthorized"]], username: "1600000000:u"}, "TURN-401", /expired/],
    [{errors: [[401, "Unauthorized"]], username: "1800000000000:u"}, "TURN-401", /milliseconds/],
    [{errors: [[401, "Unauthorized"]], username: "bob"}, "TURN-401", /wrong password/],
    [{errors: [[701, "x"], [486, "Quota"]]}, "TURN-486", /as many allocations/],
    [{errors: [[499, "Odd"]]}, "TURN-499", /answers with error 499/],
    [{...SILENT_TURN, seconds: 0.5}, "TURN-NO-ANSWER", /does not answer over UDP/],
    [{errors: [[701, "TURN host lookup received error."]]}, "TURN-RESOLVE", /cannot be resolved/],
  ];
  for (const [more, code, words] of cases) {
    const finding = turn(more);
    assert.equal(finding.code, code);
    assert.match(finding.message, words);
    assert.ok(finding.message.startsWith("turn:turn.example.org: "), finding.message);
    assert.ok(finding.fix && !/[{}]/.test(finding.fix + finding.message), finding.fix);
    assert.equal(finding.severity, "error");
  }
  const tls = turn({errors: [[701, "Failed to establish connection"]]}, "turns:turn.example.org:443");
  assert.equal(tls.code, "TURN-CONNECT");
  assert.match(tls.evidence.join(), /icekit turn/);
  assert.equal(turn({relayed: "10.0.0.5", ok: false}).code, "TURN-RELAY-PRIVATE");
  assert.equal(turn({relayed: "198.51.100.9", ok: false}).code, "ICE006");
  const stunOnly = {...server("turn:turn.example.org", {...SILENT_TURN, seconds: 0.5}), stunOnly: true};
  assert.equal(found([one, two, stunOnly], same)[0].code, "TURN-NOT-TURN");
  const sibling = found([one, two, relay, server("turn:turn.example.org", {errors: [[401]]})], same)[0];
  assert.equal(sibling.severity, "warning");
  assert.match(sibling.evidence.join(), /works: turn:198\.51\.100\.1/);
});

test("errors of addresses that a server cannot have are nobody's fault", () => {
  assert.equal(codeOfError({errorCode: 701, errorText: "TURN server address is incompatible."}, entriesOf([{urls: "turn:x"}])[0]), null);
});

test("texts of an unknown code do not fail", () => {
  assert.match(findingOf({code: "TURN-ODD", url: "turn:x"}, catalogue).message, /turn:x/);
});

test("URLs", () => {
  const [a, b, c, d] = entriesOf([{urls: ["stun:a.b", "turn:[2001:db8::1]:99?transport=tcp"]}, {urls: "turns:c.d", username: "u", credential: "p"}, {urls: "http://x"}]);
  assert.deepEqual([a.scheme, a.host, a.port, a.transport, a.turn], ["stun", "a.b", 3478, "udp", false]);
  assert.deepEqual([b.host, b.port, b.transport, b.turn], ["[2001:db8::1]", 99, "tcp", true]);
  assert.deepEqual([c.port, c.transport, c.username], [5349, "tls", "u"]);
  assert.equal(d.scheme, null);
});

test("a browser that refuses a configuration is an error of that server alone", async () => {
  const createConnection = () => { throw new SyntaxError("bad port"); };
  const report = await diagnose([{urls: "stun:a.b:99999"}], {catalogue, createConnection, online: true});
  assert.equal(report.servers[0].errors[0].errorText, "bad port");
  assert.equal(report.verdict.code, "UNKNOWN");
  assert.equal((await askServer(entriesOf([{urls: "nothing"}])[0], {createConnection})).ok, false);
});
