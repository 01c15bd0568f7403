import assert from "node:assert/strict";
import { test } from "node:test";

import { createA360Client, ProblemError } from "./index.ts";

function answering(status: number, body: string, type: string) {
  const seen: string[] = [];
  const fetch = async (request: Request): Promise<Response> => {
    seen.push(`${request.method} ${new URL(request.url).pathname}`);
    return new Response(body, { status, headers: { "Content-Type": type } });
  };
  return { client: createA360Client("http://hub.test/services/a360/api/v1", { fetch }), seen };
}

test("a success is typed data", async () => {
  const page = JSON.stringify({ items: [], next_cursor: null });
  const { client, seen } = answering(200, page, "application/json");
  const { data } = await client.GET("/projects");
  assert.deepEqual(data?.items, []);
  assert.deepEqual(seen, ["GET /services/a360/api/v1/projects"]);
});

test("a problem document is thrown with its hint", async () => {
  const problem = { title: "Not possible right now", status: 409, detail: "Taken.", code: "conflict", hint: "Other name." };
  const { client } = answering(409, JSON.stringify(problem), "application/problem+json");
  await assert.rejects(
    client.GET("/projects/{project_id}", { params: { path: { project_id: "0".repeat(32) } } }),
    (error: unknown) => error instanceof ProblemError && error.problem.hint === "Other name.",
  );
});

test("what a proxy answers is a problem too", async () => {
  const { client } = answering(502, "<h1>Bad gateway</h1>", "text/html");
  await assert.rejects(client.GET("/me"), (error: unknown) => error instanceof ProblemError && error.problem.status === 502);
});
