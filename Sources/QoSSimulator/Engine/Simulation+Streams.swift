import BlockStorage

/// Streams: when they issue requests.
extension Simulation {
    /// A stream becomes active, or stops being so.
    mutating func changeActivity(_ index: Int) throws(StorageError) {
        if streams[index].isActive {
            streams[index].isActive = false
            // A period that follows at once begins now.
            if let next = streams[index].period(from: now) { events.schedule(.activity, index, at: next.start) }
            return
        }
        guard let period = streams[index].period(from: now), period.start == now else { return }
        streams[index].isActive = true
        streams[index].issued = 0
        if period.end < .max { events.schedule(.activity, index, at: period.end) }
        switch streams[index].kind {
        case .closed:
            while streams[index].outstanding < streams[index].depth, streams[index].issued < streams[index].limit {
                issueNext(of: index)
            }
        case .open(let rate):
            guard streams[index].outstanding == 0 else { return }
            streams[index].outstanding = 1
            events.schedule(
                .arrival, index, at: now.saturatingSum(rate.distance(at: now, &streams[index].random)))
        case .trace:
            guard streams[index].outstanding == 0 else { return }
            streams[index].outstanding = 1
            try scheduleTrace(index)
        }
    }

    /// A stream that thinks, or comes by the clock, issues a request.
    mutating func arrive(_ index: Int) throws(StorageError) {
        switch streams[index].kind {
        case .closed:
            guard streams[index].isActive else {
                streams[index].outstanding -= 1
                return
            }
            issue(streams[index].draw(), of: index, volume: streams[index].volume)
        case .open(let rate):
            // Whoever rests is woken by the next period.
            guard streams[index].isActive, streams[index].issued < streams[index].limit else {
                streams[index].outstanding = 0
                return
            }
            streams[index].issued += 1
            issue(streams[index].draw(), of: index, volume: streams[index].volume)
            events.schedule(
                .arrival, index, at: now.saturatingSum(rate.distance(at: now, &streams[index].random)))
        case .trace(let replay):
            if streams[index].isActive, streams[index].issued < streams[index].limit, let record = replay.current {
                streams[index].issued += 1
                let code = RequestCode(stream: index, byteCount: record.byteCount, isWrite: record.isWrite)
                issue(code, of: index, volume: streams[index].volume)
            }
            try scheduleTrace(index)
        }
    }

    private mutating func scheduleTrace(_ index: Int) throws(StorageError) {
        guard case .trace(let replay) = streams[index].kind else { return }
        guard let record = try replay.next() else { return }
        let time = streams[index].start.saturatingSum(record.time)
        guard time < streams[index].stop else { return }
        events.schedule(.arrival, index, at: max(now, time))
    }

    /// A closed stream issues another request, after it has thought about it.
    @inline(__always)
    mutating func issueNext(of index: Int) {
        guard streams[index].issued < streams[index].limit else { return }
        streams[index].issued += 1
        streams[index].outstanding += 1
        if streams[index].think == 0 {
            issue(streams[index].draw(), of: index, volume: streams[index].volume)
        } else {
            let pause = Double(streams[index].think) * streams[index].random.exponential()
            events.schedule(.arrival, index, at: now.saturatingSum(pause < 1e18 ? UInt64(pause) : 1 << 60))
        }
    }
}
