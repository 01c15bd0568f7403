import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type A360Client = Client<paths>;

/** An answer of the API that is a problem document (RFC 9457). */
export class ProblemError extends Error {
  constructor(readonly problem: Schemas["Problem"]) {
    super(problem.detail);
    this.name = "ProblemError";
  }
}

/**
 * A client of the service's API whose paths, bodies and answers are checked by the compiler.
 *
 * @param baseUrl - The API's address, for example `/services/a360/api/v1`.
 * @param options - How requests are sent; `fetch` lets JupyterLab pass its own.
 * @returns The client; it throws {@link ProblemError} for every answer that is not a success.
 */
export function createA360Client(
  baseUrl: string,
  options: { fetch?: (request: Request) => Promise<Response>; headers?: HeadersInit } = {},
): A360Client {
  const client = createClient<paths>({ baseUrl, ...options });
  client.use({
    async onResponse({ response }) {
      if (!response.ok) {
        throw new ProblemError(await problemOf(response));
      }
      return undefined;
    },
  });
  return client;
}

async function problemOf(response: Response): Promise<Schemas["Problem"]> {
  if (response.headers.get("Content-Type")?.startsWith("application/problem+json")) {
    return (await response.clone().json()) as Schemas["Problem"];
  }
  // A proxy in between answers in its own words.
  const title = response.statusText || "The request failed";
  return { type: "about:blank", title, status: response.status, detail: title, code: "unknown" };
}
