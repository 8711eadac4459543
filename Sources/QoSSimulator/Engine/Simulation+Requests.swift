import BlockStorage
import VolumeQoS

/// Requests: how they come, go to nodes, and end.
extension Simulation {
    /// A stream issues a request now.
    @inline(__always)
    mutating func issue(_ code: RequestCode, of stream: Int, volume: Int) {
        let cost = costs.cost(of: code.byteCount)
        if volumes[volume].waiting == 0 { volumes[volume].backloggedSince = now }
        volumes[volume].waiting += 1
        let limiter = volumes[volume].limiter
        if limiter >= 0 {
            throttle(Waiting(code: code, cost: cost, arrival: now), by: Int(limiter))
        } else {
            submit(code, cost: cost, volume: volume, arrival: now)
        }
    }

    @inline(__always)
    private mutating func submit(_ code: RequestCode, cost: Int64, volume: Int, arrival: UInt64) {
        if scenario.discipline == .qos {
            scheduler.enqueue(code.rawValue, cost: cost, volume: volume, now: now)
        } else {
            line.append(Waiting(code: code, cost: cost, arrival: arrival))
        }
        dispatchTime = now
    }

    /// Begins what may begin now.
    mutating func dispatch() {
        while true {
            let (place, time) = nodes.place(now: now)
            guard let node = place else {
                // A node that gets a slot back makes itself known.
                dispatchTime = time
                return
            }
            if let flight = again.popFirst() {
                begin(flights[flight].code, cost: flights[flight].cost, arrival: flights[flight].arrival, node, flight)
            } else if scenario.discipline == .qos {
                switch scheduler.next(now: now) {
                case .grant(let grant):
                    let volume = grant.volume
                    var arrival = grant.arrival
                    if volumes[volume].limiter >= 0 {
                        arrival = limiters[Int(volumes[volume].limiter)].arrivals.popFirst() ?? arrival
                    }
                    leave(volume, grant.cost)
                    begin(RequestCode(rawValue: grant.request), cost: grant.cost, arrival: arrival, node, nil)
                case .wait(let time):
                    dispatchTime = time
                    return
                case .idle:
                    dispatchTime = .max
                    return
                }
            } else if let next = line.popFirst() {
                leave(streams[next.code.stream].volume, next.cost)
                begin(next.code, cost: next.cost, arrival: next.arrival, node, nil)
            } else {
                dispatchTime = .max
                return
            }
        }
    }

    /// A request goes from its volume's queue to a node.
    @inline(__always)
    private mutating func leave(_ volume: Int, _ cost: Int64) {
        volumes[volume].waiting -= 1
        // Absurd curves may come to more than any number holds.
        let (sum, overflow) = volumes[volume].windowCost.addingReportingOverflow(cost)
        volumes[volume].windowCost = overflow ? .max : sum
    }

    @inline(__always)
    private mutating func begin(_ code: RequestCode, cost: Int64, arrival: UInt64, _ node: Int, _ place: Int?) {
        let end = nodes.begin(
            on: node, charge: cost, byteCount: code.byteCount, isWrite: code.isWrite, now: now)
        let flight = Flight(
            code: code, arrival: arrival, cost: cost, node: Int32(node), life: nodes.nodes[node].life)
        let index: Int
        if let place = place ?? freeFlights.popLast() {
            index = place
            flights[place] = flight
        } else {
            index = flights.count
            flights.append(flight)
        }
        events.schedule(.completion, index, at: end)
    }

    /// A node is done with a request.
    @inline(__always)
    mutating func complete(_ index: Int) {
        let flight = flights[index]
        let node = Int(flight.node)
        guard nodes.nodes[node].life == flight.life else { return retry(index) }
        nodes.end(on: node)
        freeFlights.append(index)
        requests += 1
        let stream = flight.code.stream
        let volume = streams[stream].volume
        let latency = now - flight.arrival
        volumes[volume].totals.requests += 1
        volumes[volume].totals.bytes += flight.code.byteCount
        volumes[volume].latency.record(latency)
        let track = volumes[volume].track
        if track >= 0 { records.tracks[Int(track)].latency.record(latency) }
        // The slot may be what others wait for.
        dispatchTime = now
        guard streams[stream].depth > 0 else { return }
        streams[stream].outstanding -= 1
        if streams[stream].isActive { issueNext(of: stream) }
    }

    /// The node was lost while it worked on the request: another one does it, once that is noticed.
    private mutating func retry(_ index: Int) {
        let noticed = records.lossTimes[Int(flights[index].node)].saturatingSum(scenario.cluster.failover)
        if now < noticed {
            events.schedule(.completion, index, at: noticed)
        } else {
            again.append(index)
            dispatchTime = now
        }
    }

    // MARK: Throttles in the hypervisor

    mutating func setLimiter(of volume: Int, _ policy: VolumePolicy) {
        if case .qemu(let limits) = policy.enforcement {
            if volumes[volume].limiter < 0 {
                volumes[volume].limiter = Int32(limiters.count)
                limiters.append(Limiter(volume: volume, throttle: QEMUThrottle(limits, now: now)))
            } else {
                limiters[Int(volumes[volume].limiter)].throttle = QEMUThrottle(limits, now: now)
            }
        }
    }

    private mutating func throttle(_ request: Waiting, by limiter: Int) {
        limiters[limiter].waiting.append(request)
        if !limiters[limiter].isArmed { release(limiter) }
    }

    /// Lets go what the throttle allows now, and comes back when it allows more.
    mutating func release(_ limiter: Int) {
        limiters[limiter].isArmed = false
        while let request = limiters[limiter].waiting.first {
            let ready = limiters[limiter].throttle.ready(now: now)
            guard ready <= now else {
                limiters[limiter].isArmed = true
                events.schedule(.release, limiter, at: ready)
                return
            }
            _ = limiters[limiter].waiting.popFirst()
            limiters[limiter].throttle.take(byteCount: request.code.byteCount)
            if scenario.discipline == .qos { limiters[limiter].arrivals.append(request.arrival) }
            submit(request.code, cost: request.cost, volume: limiters[limiter].volume, arrival: request.arrival)
        }
    }
}
