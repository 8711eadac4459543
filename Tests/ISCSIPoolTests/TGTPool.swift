#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import SystemPackage
    import TGTControl

    @testable import ISCSIPool

    /// A tgtd of a test's own, with a directory for a pool's units.
    final class TestPool: Sendable {
        let daemon: TestTarget
        let directory: String

        private init(_ daemon: TestTarget) throws {
            self.daemon = daemon
            directory = "\(daemon.directory)/pool"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        }

        static func start() async throws -> TestPool { try TestPool(try await TestTarget.start("--luns", "0")) }

        var control: TGTControl { TGTControl(path: "\(daemon.directory)/tgtd.0", deadline: .seconds(60)) }

        /// The time by which it is judged who may still come back after a restart, in nanoseconds.
        let now = Locked<UInt64>(1)

        func provisioner(
            machineFile: FilePath = "/etc/machine-id", isMutual: Bool = false
        ) async throws(StorageError) -> TGTProvisioner {
            let now = now
            return try await TGTProvisioner.open(
                portal: daemon.description.portals[0], control: control, directory: directory, deadline: .seconds(60),
                isMutual: isMutual, machineFile: machineFile, grace: .seconds(40), now: { now.withLock { $0 } })
        }

        /// The pool as a host sees it that is called so.
        func open(
            host: String = "host-a", isMutual: Bool = false, _ change: (inout ISCSIPool.Options) -> Void = { _ in }
        ) async throws(StorageError) -> ISCSIPool {
            var options = ISCSIPool.Options(initiatorName: "iqn.2026-01.org.sluice:\(host)")
            options.deadline = .seconds(60)
            change(&options)
            return try await ISCSIPool.open(
                "p", provisioner: try await provisioner(isMutual: isMutual), options: options)
        }
    }
#endif
