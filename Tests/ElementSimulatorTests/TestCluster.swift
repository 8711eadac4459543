import BlockStorage
import Foundation
import IORuntime
import SystemPackage

@testable import ElementSimulator

/// A cluster with a clock of its own.
struct TestCluster {
    var cluster: ElementCluster
    /// In nanoseconds since 1970.
    var now: UInt64 = 1_800_000_000_000_000_000
    var changes: [DataChange] = []

    init(seed: UInt64 = 1, _ change: (inout ElementConfiguration) -> Void = { _ in }) {
        var configuration = ElementConfiguration()
        configuration.clusterID = "test"
        change(&configuration)
        cluster = ElementCluster(configuration, generator: SeededGenerator(seed: seed))
    }

    mutating func call(
        _ method: String, _ parameters: [String: JSONValue] = [:], job: FaultPlan.JobFault? = nil
    ) throws(ElementError) -> JSONValue {
        let (answer, changes) = cluster.call(method, parameters, now: now, jobFault: job)
        self.changes = changes
        return try answer.get()
    }

    mutating func wait(seconds: Double) { now += UInt64(seconds * 1e9) }

    /// The name of the error that a call ends with; empty where it succeeds.
    mutating func error(_ method: String, _ parameters: [String: JSONValue] = [:]) -> String {
        do throws(ElementError) {
            _ = try call(method, parameters)
            return ""
        } catch {
            return error.name
        }
    }

    /// An account's number.
    mutating func addAccount(_ name: String = "tenant") throws -> Int {
        try Self.number(call("AddAccount", ["username": .string(name)])["accountID"])
    }

    /// A volume's number.
    mutating func createVolume(
        _ name: String = "volume", of account: Int, size: Int = 1_000_000_000
    ) throws -> Int {
        try Self.number(
            call(
                "CreateVolume",
                [
                    "name": .string(name), "accountID": .integer(account), "totalSize": .integer(size),
                    "enable512e": true,
                ])[
                    "volumeID"])
    }

    mutating func volume(_ id: Int) throws -> JSONValue {
        let answer = try call("ListVolumes", ["volumeIDs": [.integer(id)]])
        guard case .array(let volumes)? = answer["volumes"], let volume = volumes.first else { throw Missing() }
        return volume
    }

    static func number(_ json: JSONValue?) throws -> Int {
        guard let json, let number = Int(json) else { throw Missing() }
        return number
    }

    struct Missing: Error {}
}

extension JSONValue {
    /// The numbers of the members `name` of the objects in an array.
    func numbers(_ name: String) -> [Int] {
        guard case .array(let elements) = self else { return [] }
        return elements.compactMap { $0[name].flatMap { Int($0) } }
    }
}

/// A directory of a test's own, removed with it.
final class TemporaryDirectory: Sendable {
    let path: FilePath

    init() throws {
        path = FilePath(NSTemporaryDirectory()).appending("element-\(UUID().uuidString)")
        try FileManager.default.createDirectory(atPath: path.string, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path.string) }
}
