// An action whose step is its input, with the packages that GitHub's own actions are made of.
import * as artifactModule from '@actions/artifact'
import * as cache from '@actions/cache'
import * as core from '@actions/core'
import * as fs from 'node:fs'

const artifact = artifactModule.DefaultArtifactClient
  ? new artifactModule.DefaultArtifactClient()
  : artifactModule.create()
const AsyncFunction = (async () => {}).constructor
const step = new AsyncFunction('artifact', 'cache', 'core', 'fs', core.getInput('script'))
try {
  await step(artifact, cache, core, fs)
} catch (error) {
  core.setFailed(error.stack)
}
process.exit()
