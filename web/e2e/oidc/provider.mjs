// A real identity provider (npm `oidc-provider`) as a process of its own, on loopback, in memory.
// Tests tell it who its people are, and how it is to misbehave, by a POST of JSON to /test; it ends
// when its standard input does.
//
//   node provider.mjs '{"port": 1234, "client": {"id", "secret", "redirects": []}, "people": {"ann": ["group"]}}'

import { createServer } from "node:http";
import { SignJWT, UnsecuredJWT, decodeJwt, exportJWK, generateKeyPair } from "jose";

// It warns that it is in memory, and of Node.js 20: both are so, and fine for a test.
console.warn = console.info = () => {};
const { default: Provider } = await import("oidc-provider");

const { port, client, people } = JSON.parse(process.argv[2]);
const issuer = `http://localhost:${port}`;
/** What the tests change: people's groups and claims, and how to misbehave. */
const state = { people, claims: {}, evil: null, away: false };
const [foreign] = await keys("foreign");
let key;
let provider;
await rotate();

async function keys(kid) {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  return [privateKey, { ...(await exportJWK(privateKey)), kid, alg: "RS256", use: "sig" }];
}

/** From now on it signs with another key. */
async function rotate() {
  const kid = `key-${Date.now()}`;
  const [privateKey, jwk] = await keys(kid);
  key = { privateKey, kid };
  provider = new Provider(issuer, {
    jwks: { keys: [jwk] },
    cookies: { keys: ["only of this test"] },
    clients: [{
      client_id: client.id, client_secret: client.secret, redirect_uris: client.redirects,
      post_logout_redirect_uris: client.redirects.map((callback) => new URL("/login", callback).href),
      grant_types: ["authorization_code"], response_types: ["code"],
    }],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email"] },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: {
        logoutSource: (ctx, form) => void (ctx.body = `<!doctype html><title>Sign out</title>${form}<button form="op.logoutForm" name=logout value=yes>Yes</button>`),
      },
    },
    interactions: { url: (_, { uid }) => `/sign-in/${uid}` },
    findAccount: (_, name) => ({
      accountId: name,
      claims: () => ({
        sub: name, preferred_username: name,
        email: `${name}@example.com`, groups: state.people[name], ...state.claims[name],
      }),
    }),
    // Everybody has agreed before.
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
      grant.addOIDCScope("openid profile email");
      await grant.save();
      return grant;
    },
    renderError: (ctx, { error }) => void (ctx.body = error),
  });
}

/** What the ID token becomes when the provider misbehaves. */
async function spoilt(idToken) {
  const claims = decodeJwt(idToken);
  const signed = (change, { privateKey = key.privateKey, kid = key.kid } = {}) =>
    new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: "RS256", kid }).sign(privateKey);
  switch (state.evil) {
    case "nonce": return signed({ nonce: "of another sign-in" });
    case "no nonce": return signed({ nonce: undefined });
    case "audience": return signed({ aud: "another-client" });
    case "issuer": return signed({ iss: "http://localhost:1" });
    case "expired": return signed({ exp: claims.iat - 1 });
    case "access token": return signed({ at_hash: "AAAAAAAAAAAAAAAAAAAAAA" });
    case "signature": return signed({}, { privateKey: foreign });
    case "unknown key": return signed({}, { privateKey: foreign, kid: "foreign" });
    case "secret as key": return new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: key.kid }).sign(new TextEncoder().encode(client.secret));
    case "unsigned": return new UnsecuredJWT(claims).encode();
    case "garbage": return "<script>alert(1)</script>";
    default: return idToken;
  }
}

/** Lets the provider answer, and spoils the answer. */
function answerSpoilt(request, response) {
  const end = response.end.bind(response);
  response.end = (body) => {
    const answer = JSON.parse(body);
    if (state.evil === "userinfo" && answer.sub) {
      const ofAnother = JSON.stringify({ ...answer, sub: "somebody-else" });
      response.setHeader("content-length", Buffer.byteLength(ofAnother));
      return end(ofAnother);
    }
    if (!answer.id_token) return end(body);
    spoilt(answer.id_token).then((id_token) => {
      const spoiltBody = JSON.stringify({ ...answer, id_token });
      response.setHeader("content-length", Buffer.byteLength(spoiltBody));
      end(spoiltBody);
    });
    return response;
  };
  return provider.callback()(request, response);
}

async function signIn(request, response) {
  if (request.method === "GET") {
    response.setHeader("content-type", "text/html; charset=utf-8");
    return response.end(`<!doctype html><html lang=en><title>Example Corp</title><h1>Example Corp</h1><form method=post>
      <label>Name <input name=name></label> <button>Go on</button> <button name=deny value=yes>Refuse</button></form>`);
  }
  const form = new URLSearchParams(await text(request));
  const result = form.has("deny")
    ? { error: "access_denied", error_description: "<b>no</b>" }
    : { login: { accountId: form.get("name") } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

async function text(request) {
  let all = "";
  for await (const piece of request) all += piece;
  return all;
}

createServer(async (request, response) => {
  if (request.url === "/test") {
    const { rotated, ...change } = JSON.parse(await text(request));
    Object.assign(state, change);
    if (rotated) await rotate();
    return response.end("{}");
  }
  if (state.away === true || state.away === request.url) return request.socket.destroy();
  if (request.url.startsWith("/sign-in/")) return signIn(request, response);
  if (state.evil && ["/token", "/me"].includes(request.url)) return answerSpoilt(request, response);
  return provider.callback()(request, response);
}).listen(port, "127.0.0.1", () => console.log("ready"));
process.stdin.resume().on("end", () => process.exit());
