import BlockStorage
import Foundation
import IORuntime
import Logging
import SystemPackage

/// A simulated cluster that answers calls: one at a time, each durable before it is answered.
public final class ElementArray: Sendable {
    /// What a caller gets.
    public enum Answer: Sendable, Hashable {
        case result(JSONValue)
        case error(ElementError)
        /// Nothing: the connection is to end.
        case dropped
    }

    private struct Held: Sendable {
        var cluster: ElementCluster
        var faults: FaultPlan
        /// Why the targets are not what they should be, as it was logged last.
        var trouble = ""
    }

    private let held: Locked<Held>
    private let file: StateFile?
    private let backend: any VolumeBackend
    private let queue = NameQueue()
    private let logger: Logger

    private init(
        _ cluster: ElementCluster, _ file: StateFile?, _ backend: any VolumeBackend, _ faults: FaultPlan,
        _ logger: Logger
    ) {
        held = Locked(Held(cluster: cluster, faults: faults))
        self.file = file
        self.backend = backend
        self.logger = logger
    }

    /// Opens a cluster that is kept in a directory, or for nil in memory. Throws `corrupt` where what is kept is none,
    /// and `busy` while another simulator has it.
    public static func open(
        _ configuration: ElementConfiguration = .init(), directory: FilePath? = nil,
        backend: any VolumeBackend = NoVolumes(), faults: FaultPlan = .init(), logger: Logger = Logger(label: "element")
    ) async throws(StorageError) -> ElementArray {
        var cluster = ElementCluster(configuration)
        guard let directory else { return ElementArray(cluster, nil, backend, faults, logger) }
        let file = try await StateFile.open(in: directory)
        if let contents = try await file.load() {
            cluster = ElementCluster(
                configuration, state: contents.state, credits: contents.credits, now: Self.now())
        } else {
            try await file.save(.init(state: cluster.state, credits: [:]))
        }
        let array = ElementArray(cluster, file, backend, faults, logger)
        await array.follow(cluster)
        return array
    }

    /// Calls a method. The answer comes when what it says is durable; one that a fault holds back, later.
    public func call(_ method: String, _ parameters: [String: JSONValue] = [:]) async -> Answer {
        if let answer = administer(method, parameters) { return answer }
        let encounter = held.withLock { $0.faults.encounter(method) }
        if let error = encounter.error {
            await pause(encounter.delay)
            return encounter.drops ? .dropped : .error(error)
        }
        // In a task of its own: a caller who goes away must not stop what is half done.
        let work = Task {
            await queue.withName("call") { await perform(method, parameters, encounter.job) }
        }
        let answer = await work.value
        await pause(encounter.delay)
        return encounter.drops ? .dropped : answer
    }

    private func pause(_ seconds: Double) async {
        guard seconds > 0 else { return }
        await IOExecutor.sleep(for: .seconds(seconds))
    }

    private func perform(
        _ method: String, _ parameters: [String: JSONValue], _ job: FaultPlan.JobFault?
    ) async -> Answer {
        if method == "ListISCSISessions" { return await listSessions(parameters) }
        let old = held.withLock { $0.cluster }
        var cluster = old
        // What is done to volumes is as of the last look; what they take is as it is now.
        if method.contains("VolumeStats"), let counters = try? await backend.counters() {
            cluster.usage.recordSizes(counters)
        }
        let (answer, changes) = cluster.call(method, parameters, now: Self.now(), jobFault: job)
        do throws(StorageError) {
            if !changes.isEmpty { try await backend.perform(changes) }
        } catch {
            logger.warning("\(method): \(error)")
            return .error(.notReady("\(error)"))
        }
        guard await take(cluster, after: old.state) else {
            return .error(.databaseUnreachable("The state could not be saved"))
        }
        switch answer {
        case .success(let result): return .result(result)
        case .failure(let error): return .error(error)
        }
    }

    /// Saves a cluster and makes it the one that is. False, and nothing changed, where it could not be saved.
    private func take(_ cluster: ElementCluster, after old: ClusterState) async -> Bool {
        if cluster.state != old, let file {
            do throws(StorageError) {
                try await file.save(.init(state: cluster.state, credits: cluster.usage.credits(now: Self.now())))
            } catch {
                logger.error("\(error)")
                return false
            }
        }
        held.withLock { $0.cluster = cluster }
        if cluster.state != old { await follow(cluster) }
        return true
    }

    /// Makes the targets what the cluster says. What fails is tried again at the next look.
    private func follow(_ cluster: ElementCluster) async {
        var trouble = ""
        do throws(StorageError) {
            try await backend.export(
                cluster.exports, cluster: cluster.targetPrefix, keeping: cluster.state.dataIDs)
        } catch {
            trouble = "\(error)"
        }
        let isNews = held.withLock { held in
            defer { held.trouble = trouble }
            return held.trouble != trouble
        }
        if isNews { logger.warning("targets: \(trouble.isEmpty ? "all are there again" : trouble)") }
    }

    /// Looks each half second until the task is cancelled.
    public func watch() async {
        while !Task.isCancelled {
            await look()
            await IOExecutor.sleep(for: .milliseconds(500))
        }
    }

    /// Does what the time has come for, books what the volumes are used, and makes the targets that are missing.
    func look() async {
        await queue.withName("call") {
            let old = held.withLock { $0.cluster }
            var cluster = old
            let now = Self.now()
            cluster.settle(now: now)
            if let counters = try? await backend.counters() { cluster.usage.record(counters, now: now) }
            guard await take(cluster, after: old.state) else { return }
            if cluster.state == old.state { await follow(cluster) }
        }
    }

    // MARK: The simulator's own methods

    /// Faults are set, listed and removed at any time, and outside the order of calls.
    private func administer(_ method: String, _ values: [String: JSONValue]) -> Answer? {
        var parameters = Parameters(values)
        do throws(ElementError) {
            switch method {
            case "SimulatorAddFault":
                let fault = try FaultPlan.Fault(&parameters)
                try parameters.finish()
                held.withLock { $0.faults.add(fault) }
            case "SimulatorRemoveFaults":
                let method: String? = try parameters.optional("method")
                try parameters.finish()
                held.withLock { $0.faults.remove(method) }
            case "SimulatorListFaults": break
            default: return nil
            }
            return .result(["faults": .array(held.withLock { $0.faults.faults.map(\.json) })])
        } catch {
            return .error(error)
        }
    }

    private func listSessions(_ values: [String: JSONValue]) async -> Answer {
        let cluster = held.withLock { $0.cluster }
        do throws(ElementError) {
            let parameters = Parameters(values)
            try parameters.finish()
        } catch {
            return .error(error)
        }
        do throws(StorageError) {
            let sessions = try await backend.sessions()
            return .result(["sessions": .array(sessions.compactMap(cluster.json))])
        } catch {
            return .error(.notReady("\(error)"))
        }
    }

    private static func now() -> UInt64 { UInt64(max(0, Date().timeIntervalSince1970) * 1e9) }
}

extension ElementCluster {
    /// Nil for a session of a volume that is gone.
    fileprivate func json(_ session: VolumeSession) -> JSONValue? {
        guard let volume = state.volumes[session.volumeID] else { return nil }
        return [
            "accountID": .integer(volume.accountID),
            "accountName": .string(state.accounts[volume.accountID]?.username ?? ""),
            "authentication": [
                "authMethod": "CHAP", "chapAlgorithm": "MD5", "chapUsername": nil, "direction": "one-way",
            ],
            "createTime": Self.timestamp(volume.createTime), "driveID": 0, "driveIDs": [], "initiator": nil,
            "initiatorIP": .string(session.address ?? ""), "initiatorName": .string(session.initiator),
            "initiatorPortName": .string("\(session.initiator),i,0x\(session.number)"),
            "initiatorSessionID": .integer(session.number), "msSinceLastIscsiPDU": 0, "msSinceLastScsiCommand": 0,
            "nodeID": 1, "serviceID": 1, "sessionID": .integer(session.number),
            "targetIP": .string(configuration.storageAddress), "targetName": .string(name(of: volume)),
            "targetPortName": .string("\(name(of: volume)),t,0x1"), "virtualNetworkID": 0,
            "volumeID": .integer(volume.volumeID), "volumeInstance": .integer(volume.volumeID),
        ]
    }
}
