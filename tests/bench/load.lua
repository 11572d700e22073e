-- The load, as wrk runs it, and its figures on one line for measure.sh:
--   requests seconds p50 p99 failures      (latencies in microseconds)
-- `wrk ... URL -- 16` sends 16 requests in one write.

-- luacheck: globals init request done wrk

local batch

function init(args)
  local depth = tonumber(args[1]) or 1
  if depth > 1 then
    batch = string.rep(wrk.format(), depth)
    -- Defined here alone: without it wrk keeps to one prepared request.
    function request()
      return batch
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  local failures = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("figures %d %.6f %.1f %.1f %d\n", summary.requests,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99), failures))
end
