// What a script of actions/github-script is given: github, context, core, exec, glob, io, require.
// A small toolkit with the documented surface of GitHub's, without dependencies. Node 18 or later.
'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const { spawn } = require('child_process')
const { createRequire } = require('module')

const settings = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
const env = process.env

// ---- core -------------------------------------------------------------------------------------
const text = value =>
  value === null || value === undefined ? '' : typeof value === 'string' || value instanceof String ? String(value) : JSON.stringify(value)
const escapeData = value => text(value).replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A')
const escapeProperty = value => escapeData(value).replace(/:/g, '%3A').replace(/,/g, '%2C')
function command(name, properties, message) {
  const list = Object.entries(properties).filter(([, v]) => v !== undefined && v !== '')
  const shown = list.map(([k, v]) => `${k}=${escapeProperty(v)}`).join(',')
  process.stdout.write(`::${name}${shown ? ' ' + shown : ''}::${escapeData(message)}${os.EOL}`)
}
function fileCommand(variable, content) {
  if (!env[variable]) throw new Error(`Unable to find environment variable for file command ${variable}`)
  fs.appendFileSync(env[variable], content + os.EOL, 'utf8')
}
function keyValue(key, value) {
  const mark = `ghadelimiter_${require('crypto').randomUUID()}`
  return `${key}<<${mark}${os.EOL}${text(value)}${os.EOL}${mark}`
}
const places = p => (p ? { title: p.title, file: p.file, line: p.startLine, endLine: p.endLine, col: p.startColumn, endColumn: p.endColumn } : {})
const level = name => (message, properties) => command(name, places(properties), message instanceof Error ? message.toString() : message)
const core = {
  ExitCode: { Success: 0, Failure: 1 },
  exportVariable(name, value) { env[name] = text(value); fileCommand('GITHUB_ENV', keyValue(name, value)) },
  setSecret(secret) { command('add-mask', {}, secret) },
  addPath(folder) { fileCommand('GITHUB_PATH', folder); env.PATH = `${folder}${path.delimiter}${env.PATH}` },
  getInput(name, options = {}) {
    const value = env[`INPUT_${name.replace(/ /g, '_').toUpperCase()}`] || ''
    if (options.required && !value) throw new Error(`Input required and not supplied: ${name}`)
    return options.trimWhitespace === false ? value : value.trim()
  },
  getMultilineInput(name, options) { return core.getInput(name, options).split('\n').filter(x => x !== '').map(x => x.trim()) },
  getBooleanInput(name, options) {
    const value = core.getInput(name, options)
    if (['true', 'True', 'TRUE'].includes(value)) return true
    if (['false', 'False', 'FALSE'].includes(value)) return false
    throw new TypeError(`Input does not meet YAML 1.2 "Core Schema" specification: ${name}`)
  },
  setOutput(name, value) { fileCommand('GITHUB_OUTPUT', keyValue(name, value)) },
  setCommandEcho(on) { command('echo', {}, on ? 'on' : 'off') },
  setFailed(message) { process.exitCode = 1; core.error(message) },
  isDebug: () => env.RUNNER_DEBUG === '1',
  debug: message => command('debug', {}, message),
  error: level('error'),
  warning: level('warning'),
  notice: level('notice'),
  info(message) { process.stdout.write(message + os.EOL) },
  startGroup(name) { command('group', {}, name) },
  endGroup() { command('endgroup', {}, '') },
  async group(name, work) { core.startGroup(name); try { return await work() } finally { core.endGroup() } },
  saveState(name, value) { fileCommand('GITHUB_STATE', keyValue(name, value)) },
  getState: name => env[`STATE_${name}`] || '',
  async getIDToken(audience) {
    const url = env.ACTIONS_ID_TOKEN_REQUEST_URL
    if (!url) throw new Error('Error message: Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable')
    const answer = await fetch(audience ? `${url}&audience=${encodeURIComponent(audience)}` : url, {
      headers: { authorization: `Bearer ${env.ACTIONS_ID_TOKEN_REQUEST_TOKEN}` }
    })
    const token = (await answer.json()).value
    core.setSecret(token)
    return token
  },
  toPosixPath: p => p.replace(/[\\]/g, '/'),
  toWin32Path: p => p.replace(/[/]/g, '\\'),
  toPlatformPath: p => p.replace(/[/\\]/g, path.sep),
  platform: { platform: os.platform(), arch: os.arch(), isWindows: false, isMacOS: os.platform() === 'darwin', isLinux: os.platform() === 'linux' }
}
class Summary {
  constructor() { this.buffer = '' }
  async write(options = {}) {
    const write = options.overwrite ? fs.writeFileSync : fs.appendFileSync
    write(env.GITHUB_STEP_SUMMARY, this.buffer)
    return this.emptyBuffer()
  }
  async clear() { return this.emptyBuffer().write({ overwrite: true }) }
  stringify() { return this.buffer }
  isEmptyBuffer() { return this.buffer.length === 0 }
  emptyBuffer() { this.buffer = ''; return this }
  addRaw(value, newline = false) { this.buffer += value; return newline ? this.addEOL() : this }
  addEOL() { return this.addRaw(os.EOL) }
  wrap(tag, content, attributes = {}) {
    const shown = Object.entries(attributes).map(([k, v]) => ` ${k}="${v}"`).join('')
    return content ? `<${tag}${shown}>${content}</${tag}>` : `<${tag}${shown}>`
  }
  addCodeBlock(code, lang) { return this.addRaw(this.wrap('pre', this.wrap('code', code), lang ? { lang } : {})).addEOL() }
  addList(items, ordered = false) { return this.addRaw(this.wrap(ordered ? 'ol' : 'ul', items.map(i => this.wrap('li', i)).join(''))).addEOL() }
  addTable(rows) {
    const cell = c => {
      if (typeof c === 'string') return this.wrap('td', c)
      const more = { ...(c.colspan && { colspan: c.colspan }), ...(c.rowspan && { rowspan: c.rowspan }) }
      return this.wrap(c.header ? 'th' : 'td', c.data, more)
    }
    return this.addRaw(this.wrap('table', rows.map(r => this.wrap('tr', r.map(cell).join(''))).join(''))).addEOL()
  }
  addDetails(label, content) { return this.addRaw(this.wrap('details', this.wrap('summary', label) + content)).addEOL() }
  addImage(src, alt, o = {}) { return this.addRaw(this.wrap('img', null, { src, alt, ...(o.width && { width: o.width }), ...(o.height && { height: o.height }) })).addEOL() }
  addHeading(value, depth = 1) { return this.addRaw(this.wrap([1, 2, 3, 4, 5, 6].includes(+depth) ? `h${depth}` : 'h1', value)).addEOL() }
  addSeparator() { return this.addRaw(this.wrap('hr', null)).addEOL() }
  addBreak() { return this.addRaw(this.wrap('br', null)).addEOL() }
  addQuote(value, cite) { return this.addRaw(this.wrap('blockquote', value, cite ? { cite } : {})).addEOL() }
  addLink(value, href) { return this.addRaw(this.wrap('a', value, { href })).addEOL() }
}
core.summary = new Summary()

// ---- context ----------------------------------------------------------------------------------
class Context {
  constructor() {
    this.payload = env.GITHUB_EVENT_PATH && fs.existsSync(env.GITHUB_EVENT_PATH) ? JSON.parse(fs.readFileSync(env.GITHUB_EVENT_PATH, 'utf8')) : {}
    const names = { eventName: 'EVENT_NAME', sha: 'SHA', ref: 'REF', workflow: 'WORKFLOW', action: 'ACTION', actor: 'ACTOR', job: 'JOB' }
    for (const [key, name] of Object.entries(names)) this[key] = env[`GITHUB_${name}`]
    this.runAttempt = parseInt(env.GITHUB_RUN_ATTEMPT, 10)
    this.runNumber = parseInt(env.GITHUB_RUN_NUMBER, 10)
    this.runId = parseInt(env.GITHUB_RUN_ID, 10)
    this.apiUrl = env.GITHUB_API_URL || 'https://api.github.com'
    this.serverUrl = env.GITHUB_SERVER_URL || 'https://github.com'
    this.graphqlUrl = env.GITHUB_GRAPHQL_URL || 'https://api.github.com/graphql'
  }
  get repo() {
    if (env.GITHUB_REPOSITORY) { const [owner, repo] = env.GITHUB_REPOSITORY.split('/'); return { owner, repo } }
    if (this.payload.repository) return { owner: this.payload.repository.owner.login, repo: this.payload.repository.name }
    throw new Error("context.repo requires a GITHUB_REPOSITORY environment variable like 'owner/repo'")
  }
  get issue() {
    const p = this.payload
    return { ...this.repo, number: (p.issue || p.pull_request || p).number }
  }
}
const context = new Context()

// ---- github -----------------------------------------------------------------------------------
class RequestError extends Error {
  constructor(message, status, request, response) { super(message); Object.assign(this, { name: 'HttpError', status, request, response }) }
}
const base = () => (settings.baseUrl || context.apiUrl).replace(/\/$/, '')
const exempt = (settings.exempt || []).map(Number)
async function send(method, route, given) {
  const parameters = { ...given }
  const headers = {
    accept: 'application/vnd.github+json',
    'user-agent': settings.userAgent,
    'content-type': 'application/json; charset=utf-8',
    ...(settings.token ? { authorization: `token ${settings.token}` } : {}),
    ...(parameters.headers || {})
  }
  if (settings.previews.length) headers.accept = settings.previews.map(p => `application/vnd.github.${p}-preview+json`).join(',')
  const prefix = parameters.baseUrl || base()
  for (const name of ['headers', 'baseUrl', 'mediaType', 'request']) delete parameters[name]
  let url = route.replace(/\{\+?([a-z_]+)\}|:([a-z_]+)/gi, (whole, a, b) => {
    const name = a || b
    if (!(name in parameters)) return whole
    const value = parameters[name]
    delete parameters[name]
    return encodeURIComponent(value).replace(name === 'path' || name === 'ref' ? /%2F/g : /$^/g, '/')
  })
  url = /^https?:/.test(url) ? url : prefix + url
  let body
  if (method === 'GET' || method === 'HEAD') {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== undefined).map(([k, v]) => [k, String(v)])).toString()
    if (query) url += (url.includes('?') ? '&' : '?') + query
  } else {
    body = 'data' in parameters ? parameters.data : Object.keys(parameters).length ? parameters : undefined
    if (body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)) body = JSON.stringify(body)
  }
  if (settings.debug) core.debug(`${method} ${url}`)
  const answer = await fetch(url, { method, headers, body, redirect: 'manual' })
  const raw = await answer.text()
  const json = (answer.headers.get('content-type') || '').includes('json')
  const data = raw && json ? JSON.parse(raw) : raw || undefined
  const response = { status: answer.status, url, headers: Object.fromEntries(answer.headers), data }
  if (answer.status >= 400) throw new RequestError((data && data.message) || `HTTP ${answer.status}`, answer.status, { method, url, headers: { ...headers, authorization: undefined } }, response)
  return response
}
async function request(route, options = {}) {
  if (typeof route === 'object') { options = { ...route }; route = `${options.method || 'GET'} ${options.url}`; delete options.method; delete options.url }
  const [, method, url] = /^(?:([A-Z]+) )?(.+)$/.exec(route)
  for (let attempt = 0; ; attempt++) {
    try {
      return await send((method || 'GET').toUpperCase(), url, options)
    } catch (error) {
      if (attempt >= settings.retries || exempt.includes(error.status)) throw error
      await new Promise(done => setTimeout(done, (attempt + 1) ** 2 * 1000))
    }
  }
}
const R = '/repos/{owner}/{repo}'
const I = `${R}/issues`
const P = `${R}/pulls`
const ENDPOINTS = {
  actions: {
    cancelWorkflowRun: `POST ${R}/actions/runs/{run_id}/cancel`, createWorkflowDispatch: `POST ${R}/actions/workflows/{workflow_id}/dispatches`,
    deleteArtifact: `DELETE ${R}/actions/artifacts/{artifact_id}`, deleteActionsCacheById: `DELETE ${R}/actions/caches/{cache_id}`,
    downloadArtifact: `GET ${R}/actions/artifacts/{artifact_id}/{archive_format}`, getActionsCacheList: `GET ${R}/actions/caches`,
    getWorkflowRun: `GET ${R}/actions/runs/{run_id}`, listArtifactsForRepo: `GET ${R}/actions/artifacts`,
    listJobsForWorkflowRun: `GET ${R}/actions/runs/{run_id}/jobs`, listRepoWorkflows: `GET ${R}/actions/workflows`,
    listWorkflowRuns: `GET ${R}/actions/workflows/{workflow_id}/runs`, listWorkflowRunsForRepo: `GET ${R}/actions/runs`,
    listWorkflowRunArtifacts: `GET ${R}/actions/runs/{run_id}/artifacts`, reRunWorkflow: `POST ${R}/actions/runs/{run_id}/rerun`
  },
  checks: {
    create: `POST ${R}/check-runs`, get: `GET ${R}/check-runs/{check_run_id}`, listForRef: `GET ${R}/commits/{ref}/check-runs`,
    update: `PATCH ${R}/check-runs/{check_run_id}`
  },
  git: {
    createBlob: `POST ${R}/git/blobs`, createCommit: `POST ${R}/git/commits`, createRef: `POST ${R}/git/refs`, createTag: `POST ${R}/git/tags`,
    createTree: `POST ${R}/git/trees`, deleteRef: `DELETE ${R}/git/refs/{ref}`, getCommit: `GET ${R}/git/commits/{commit_sha}`,
    getRef: `GET ${R}/git/ref/{ref}`, getTree: `GET ${R}/git/trees/{tree_sha}`, listMatchingRefs: `GET ${R}/git/matching-refs/{ref}`,
    updateRef: `PATCH ${R}/git/refs/{ref}`
  },
  issues: {
    addAssignees: `POST ${I}/{issue_number}/assignees`, addLabels: `POST ${I}/{issue_number}/labels`, create: `POST ${I}`,
    createComment: `POST ${I}/{issue_number}/comments`, createLabel: `POST ${R}/labels`, deleteComment: `DELETE ${I}/comments/{comment_id}`,
    get: `GET ${I}/{issue_number}`, getComment: `GET ${I}/comments/{comment_id}`, listComments: `GET ${I}/{issue_number}/comments`,
    listForRepo: `GET ${I}`, listLabelsForRepo: `GET ${R}/labels`, listLabelsOnIssue: `GET ${I}/{issue_number}/labels`,
    lock: `PUT ${I}/{issue_number}/lock`, removeLabel: `DELETE ${I}/{issue_number}/labels/{name}`, setLabels: `PUT ${I}/{issue_number}/labels`,
    update: `PATCH ${I}/{issue_number}`, updateComment: `PATCH ${I}/comments/{comment_id}`
  },
  pulls: {
    create: `POST ${P}`, createReview: `POST ${P}/{pull_number}/reviews`, createReviewComment: `POST ${P}/{pull_number}/comments`,
    get: `GET ${P}/{pull_number}`, list: `GET ${P}`, listCommits: `GET ${P}/{pull_number}/commits`, listFiles: `GET ${P}/{pull_number}/files`,
    listReviews: `GET ${P}/{pull_number}/reviews`, merge: `PUT ${P}/{pull_number}/merge`, requestReviewers: `POST ${P}/{pull_number}/requested_reviewers`,
    update: `PATCH ${P}/{pull_number}`
  },
  reactions: { createForIssue: `POST ${I}/{issue_number}/reactions`, createForIssueComment: `POST ${I}/comments/{comment_id}/reactions` },
  repos: {
    compareCommits: `GET ${R}/compare/{base}...{head}`, compareCommitsWithBasehead: `GET ${R}/compare/{basehead}`,
    createCommitComment: `POST ${R}/commits/{commit_sha}/comments`, createCommitStatus: `POST ${R}/statuses/{sha}`,
    createDeployment: `POST ${R}/deployments`, createDeploymentStatus: `POST ${R}/deployments/{deployment_id}/statuses`,
    createDispatchEvent: `POST ${R}/dispatches`, createOrUpdateFileContents: `PUT ${R}/contents/{path}`, createRelease: `POST ${R}/releases`,
    deleteRelease: `DELETE ${R}/releases/{release_id}`, generateReleaseNotes: `POST ${R}/releases/generate-notes`, get: `GET ${R}`,
    getBranch: `GET ${R}/branches/{branch}`, getCollaboratorPermissionLevel: `GET ${R}/collaborators/{username}/permission`,
    getCombinedStatusForRef: `GET ${R}/commits/{ref}/status`, getCommit: `GET ${R}/commits/{ref}`, getContent: `GET ${R}/contents/{path}`,
    getLatestRelease: `GET ${R}/releases/latest`, getRelease: `GET ${R}/releases/{release_id}`, getReleaseByTag: `GET ${R}/releases/tags/{tag}`,
    listBranches: `GET ${R}/branches`, listCommits: `GET ${R}/commits`, listDeployments: `GET ${R}/deployments`, listReleases: `GET ${R}/releases`,
    listPullRequestsAssociatedWithCommit: `GET ${R}/commits/{commit_sha}/pulls`, listTags: `GET ${R}/tags`, updateRelease: `PATCH ${R}/releases/{release_id}`
  },
  search: { code: 'GET /search/code', issuesAndPullRequests: 'GET /search/issues', repos: 'GET /search/repositories' },
  users: { getAuthenticated: 'GET /user', getByUsername: 'GET /users/{username}' },
  teams: { listMembersInOrg: 'GET /orgs/{org}/teams/{team_slug}/members' },
  orgs: { checkMembershipForUser: 'GET /orgs/{org}/members/{username}', get: 'GET /orgs/{org}' },
  rateLimit: { get: 'GET /rate_limit' }
}
const rest = {}
for (const [area, methods] of Object.entries(ENDPOINTS)) {
  const named = {}
  for (const [name, route] of Object.entries(methods)) named[name] = Object.assign(p => request(route, p), { route })
  rest[area] = new Proxy(named, {
    get(target, name) {
      if (name in target || typeof name === 'symbol') return target[name]
      throw new Error(`github.rest.${area}.${name} is not known here; use github.request('METHOD /path', {…})`)
    }
  })
}
const routeOf = what => (typeof what === 'function' ? what.route : typeof what === 'string' ? what : `${what.method || 'GET'} ${what.url}`)
async function* pages(what, parameters) {
  let route = routeOf(what)
  let options = { ...parameters }
  while (route) {
    const response = await request(route, options)
    const data = response.data
    if (data && !Array.isArray(data) && typeof data === 'object' && 'total_count' in data) {
      response.data = Object.values(data).find(Array.isArray) || []
    }
    yield response
    const next = /<([^>]+)>;\s*rel="next"/.exec(response.headers.link || '')
    // The token goes only where the first request went.
    route = next && new URL(next[1]).origin === new URL(response.url).origin ? `GET ${next[1]}` : null
    options = {}
  }
}
async function paginate(what, parameters, map) {
  if (typeof parameters === 'function') { map = parameters; parameters = {} }
  const all = []
  let stop = false
  for await (const page of pages(what, parameters)) {
    all.push(...(map ? map(page, () => { stop = true }) : page.data))
    if (stop) break
  }
  return all
}
paginate.iterator = pages
async function graphql(query, variables = {}) {
  const url = settings.baseUrl ? `${base().replace(/\/v3$/, '')}/graphql` : context.graphqlUrl
  const { data } = await request(`POST ${url}`, { data: { query, variables } })
  if (data.errors) throw Object.assign(new Error(`Request failed due to following response errors:\n - ${data.errors.map(e => e.message).join('\n - ')}`), { errors: data.errors, data: data.data })
  return data.data
}
const github = { rest, request, paginate, graphql, hook: undefined, log: { debug: core.debug, info: core.info, warn: core.warning, error: core.error } }

// ---- exec, io, glob ---------------------------------------------------------------------------
const io = {
  async which(tool, check) {
    for (const folder of tool.includes('/') ? [''] : (env.PATH || '').split(path.delimiter)) {
      const file = folder ? path.join(folder, tool) : tool
      try { fs.accessSync(file, fs.constants.X_OK); if (fs.statSync(file).isFile()) return file } catch {}
    }
    if (check) throw new Error(`Unable to locate executable file: ${tool}. Please verify either the file path exists or the file can be found within a directory specified by the PATH environment variable.`)
    return ''
  },
  async findInPath(tool) { const found = await io.which(tool); return found ? [found] : [] },
  async mkdirP(folder) { await fs.promises.mkdir(folder, { recursive: true }) },
  async rmRF(target) { await fs.promises.rm(target, { recursive: true, force: true, maxRetries: 3 }) },
  async cp(source, target, options = {}) {
    const into = options.copySourceDirectory !== false && fs.existsSync(target) && fs.statSync(target).isDirectory()
    if (fs.statSync(source).isDirectory() && !options.recursive) throw new Error(`Failed to copy. ${source} is a directory, but tried to copy without recursive flag.`)
    await fs.promises.cp(source, into ? path.join(target, path.basename(source)) : target, { recursive: true, force: options.force !== false })
  },
  async mv(source, target) {
    const into = fs.existsSync(target) && fs.statSync(target).isDirectory() ? path.join(target, path.basename(source)) : target
    await fs.promises.mkdir(path.dirname(into), { recursive: true })
    await fs.promises.rename(source, into)
  }
}
function words(line) {
  const found = []
  let word = '', quoted = false, started = false
  for (let at = 0; at < line.length; at++) {
    const c = line[at]
    if (c === '\\' && quoted && line[at + 1] === '"') { word += '"'; at++ }
    else if (c === '"') { quoted = !quoted; started = true }
    else if (c === ' ' && !quoted) { if (started || word) found.push(word); word = ''; started = false }
    else word += c
  }
  if (started || word) found.push(word)
  return found
}
function run(line, args = [], options = {}) {
  const [tool, ...more] = words(line)
  if (!tool) return Promise.reject(new Error("Parameter 'commandLine' cannot be null or empty."))
  const all = [...more, ...args]
  const listeners = options.listeners || {}
  if (!options.silent) (options.outStream || process.stdout).write(`[command]${[tool, ...all].join(' ')}${os.EOL}`)
  return new Promise((resolve, reject) => {
    const child = spawn(tool, all, { cwd: options.cwd || process.cwd(), env: options.env || env, stdio: ['pipe', 'pipe', 'pipe'] })
    let failed = false
    const rest = { stdout: '', stderr: '' }
    const lines = (name, listener, data) => {
      const parts = (rest[name] + data).split('\n')
      rest[name] = parts.pop()
      parts.forEach(part => listener(part))
    }
    const take = (name, line) => data => {
      if (name === 'stderr' && options.failOnStdErr) failed = true
      if (listeners[name]) listeners[name](data)
      if (listeners[line]) lines(name, listeners[line], data)
      if (!options.silent) (name === 'stderr' ? options.errStream || process.stderr : options.outStream || process.stdout).write(data)
    }
    child.stdout.on('data', take('stdout', 'stdline'))
    child.stderr.on('data', take('stderr', 'errline'))
    child.stdin.on('error', () => {})
    child.stdin.end(options.input)
    child.on('error', error => reject(new Error(`There was an error when attempting to execute the process '${tool}'. This may indicate the process failed to start. Error: ${error.message}`)))
    child.on('close', (code, signal) => {
      if (rest.stdout && listeners.stdline) listeners.stdline(rest.stdout)
      if (rest.stderr && listeners.errline) listeners.errline(rest.stderr)
      const status = code === null ? 128 + (os.constants.signals[signal] || 0) : code
      if (status && !options.ignoreReturnCode) reject(new Error(`The process '${tool}' failed with exit code ${status}`))
      else if (failed) reject(new Error(`The process '${tool}' failed because one or more lines were written to the STDERR stream`))
      else resolve(status)
    })
  })
}
const exec = {
  exec: run,
  async getExecOutput(line, args, options = {}) {
    const out = [], err = [], theirs = options.listeners || {}
    const exitCode = await run(line, args, {
      ...options,
      listeners: {
        ...theirs,
        stdout: data => { out.push(data); if (theirs.stdout) theirs.stdout(data) },
        stderr: data => { err.push(data); if (theirs.stderr) theirs.stderr(data) }
      }
    })
    return { exitCode, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
  }
}
function regexpOf(pattern) {
  const parts = pattern.split('/').filter(Boolean).map(segment =>
    segment === '**' ? '(?:/[^/]+)*' : '/' + segment.replace(/[.+^${}()|\\]/g, '\\$&').replace(/\*/g, '[^/]*').replace(/\?/g, '[^/]').replace(/\[!/g, '[^'))
  return new RegExp(`^${parts.join('')}(?<below>/.*)?$`, 's')
}
async function create(patterns, options = {}) {
  const rules = patterns.split(/\r?\n/).map(p => p.trim()).filter(p => p && !p.startsWith('#')).map(line => {
    const negated = line.startsWith('!')
    let body = negated ? line.slice(1).trim() : line
    if (body === '~' || body.startsWith('~/')) body = os.homedir() + body.slice(1)
    const whole = path.resolve(body)
    const literal = whole.split('/')
    const wild = literal.findIndex(part => /[*?[]/.test(part))
    return { negated, regexp: regexpOf(whole), base: wild < 0 ? whole : literal.slice(0, wild).join('/') || '/' }
  })
  const bases = [...new Set(rules.filter(r => !r.negated).map(r => r.base))]
  const roots = bases.filter(b => !bases.some(o => o !== b && b.startsWith(o.replace(/\/$/, '') + '/')))
  const matches = file => {
    let included = false
    for (const rule of rules) {
      const match = rule.regexp.exec(file)
      if (match && (options.implicitDescendants !== false || !match.groups.below)) included = !rule.negated
    }
    return included
  }
  async function* globGenerator() {
    const pending = [...roots].reverse().map(file => ({ file, seen: [] }))
    while (pending.length) {
      const { file, seen } = pending.pop()
      let stats
      try { stats = options.followSymbolicLinks === false ? fs.lstatSync(file) : fs.statSync(file) } catch { continue }
      if (stats.isDirectory()) {
        const real = fs.realpathSync(file)
        if (seen.includes(real)) continue
        if (options.matchDirectories !== false && matches(file)) yield file
        const names = fs.readdirSync(file).filter(name => !(options.excludeHiddenFiles && name.startsWith('.')))
        for (const name of names.sort().reverse()) pending.push({ file: path.join(file, name), seen: [...seen, real] })
      } else if (matches(file)) yield file
    }
  }
  return { getSearchPaths: () => [...roots], globGenerator, async glob() { const all = []; for await (const f of globGenerator()) all.push(f); return all } }
}
const glob = {
  create,
  async hashFiles(patterns, folder = env.GITHUB_WORKSPACE || process.cwd()) {
    const crypto = require('crypto')
    const total = crypto.createHash('sha256')
    let any = false
    for await (const file of (await create(patterns)).globGenerator()) {
      if (!file.startsWith(folder + '/') || fs.statSync(file).isDirectory()) continue
      any = true
      total.update(crypto.createHash('sha256').update(fs.readFileSync(file)).digest())
    }
    return any ? total.digest('hex') : ''
  }
}

// ---- the script -------------------------------------------------------------------------------
const native = createRequire(path.join(process.cwd(), 'script.js'))
const load = new Proxy(native, {
  apply(target, self, [name]) {
    if (name.startsWith('.')) return target(path.join(process.cwd(), name))
    return { '@actions/core': core, '@actions/exec': exec, '@actions/glob': glob, '@actions/io': io }[name] || target(name)
  }
})
process.on('unhandledRejection', error => { core.setFailed(`Unhandled error: ${error}`) })
async function main() {
  const AsyncFunction = Object.getPrototypeOf(async () => null).constructor
  const given = { require: load, __original_require__: native, github, octokit: github, getOctokit: () => github, context, core, exec, glob, io }
  const result = await new AsyncFunction(...Object.keys(given), settings.script)(...Object.values(given))
  if (settings.encoding === 'string') core.setOutput('result', String(result))
  else core.setOutput('result', result === undefined ? '' : JSON.stringify(result))
}
main().catch(error => {
  process.stderr.write(`${(error && error.stack) || error}${os.EOL}`)
  core.setFailed(`Unhandled error: ${error}`)
})
