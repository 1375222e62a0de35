// Every address of the demo, from the same environment variables that the processes read, so that
// moving one process moves everybody who talks to it.

const listens = {
  GATEWAY_LISTEN: "127.0.0.1:8080",
  SERVICES_LISTEN: "127.0.0.1:9080",
  SERVICES_OPS_LISTEN: "127.0.0.1:9081",
  SANDBOX_LISTEN: "127.0.0.1:8090",
};

// The Restate server's own variables; they win over restate.toml.
const restatePorts = {
  RESTATE_INGRESS__BIND_PORT: "8081",
  RESTATE_ADMIN__BIND_PORT: "9070",
  RESTATE_BIND_PORT: "5122",
};

/** The folder of everything that the demo keeps. */
export const dataDirectory = process.env.WAYBILL_DATA_DIR || "data";

/** Where each process listens and what to tell it, from `environment` and the defaults. */
export function demoSettings(environment) {
  const listen = withDefaults(listens, environment);
  const port = withDefaults(restatePorts, environment);
  const url = {
    gateway: urlOf("GATEWAY_LISTEN", listen),
    services: urlOf("SERVICES_LISTEN", listen),
    ops: urlOf("SERVICES_OPS_LISTEN", listen),
    sandbox: urlOf("SANDBOX_LISTEN", listen),
    ingress: `http://127.0.0.1:${port.RESTATE_INGRESS__BIND_PORT}`,
    admin: `http://127.0.0.1:${port.RESTATE_ADMIN__BIND_PORT}`,
  };

  const everybody = {
    RUST_LOG: "info",
    DATABASE_URL: `sqlite://${dataDirectory}/waybill.db`,
    SANDBOX_DATABASE_URL: `sqlite://${dataDirectory}/sandbox.db`,
    ...environment,
    ...listen,
    // The logs are files.
    NO_COLOR: "1",
  };
  const variables = {
    restate: { RESTATE_BASE_DIR: `${dataDirectory}/restate`, ...environment, ...port },
    services: {
      ...everybody,
      SERVICES_URL: url.services,
      RESTATE_ADMIN_URL: url.admin,
      PAYMENT_PROVIDER_URL: `${url.sandbox}/payments`,
      CARRIER_URL: `${url.sandbox}/carrier`,
      // The console shows what a crash does.
      ALLOW_CRASH: "true",
    },
    sandbox: { ...everybody, PAYMENT_CALLBACK_URL: `${url.gateway}/api/payment/callback` },
    gateway: {
      ...everybody,
      AUTH_MODE: "demo",
      RESTATE_INGRESS_URL: url.ingress,
      RESTATE_ADMIN_URL: url.admin,
      SERVICES_UPDATES_URLS: `${url.ops}/updates`,
      SANDBOX_URL: url.sandbox,
    },
  };

  const addresses = [
    ...Object.entries(listen).map(([variable, address]) => ({ variable, ...hostAndPort(address) })),
    ...Object.entries(port).map(([variable, value]) => ({ variable, host: null, port: Number(value) })),
  ];
  return { url, variables, addresses };
}

function withDefaults(defaults, environment) {
  return Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, environment[name] || value]),
  );
}

function urlOf(variable, listen) {
  const { host, port } = hostAndPort(listen[variable]);
  if (!(port > 0 && port < 65536)) {
    throw new Error(`${variable} is "${listen[variable]}"; it must be an address and a port, as in "${listens[variable]}".`);
  }
  const reachable = host === "0.0.0.0" || host === "[::]" ? "127.0.0.1" : host;
  return `http://${reachable}:${port}`;
}

function hostAndPort(address) {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}
