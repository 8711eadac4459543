#if ISCSI
    import BlockStorage
    import CISCSI
    import IORuntime

    /// A target that a portal knows.
    public struct ISCSIDiscoveredTarget: Equatable, Sendable {
        public var name: String
        /// `ADDRESS:PORT,GROUP`.
        public var portals: [String]
    }

    extension ISCSITarget {
        /// Asks each portal in turn for the targets that it knows, until one answers. The name of this target is not
        /// looked at, nor is what it would prove itself with.
        public func discover(
            deadline: Duration = .seconds(30)
        ) async throws(StorageError) -> [ISCSIDiscoveredTarget] {
            let login = try ISCSILogin(self, deadline: IODeadline(deadline))
            var failure = StorageError(.connectionLost, "discover targets")
            for turn in portals.indices {
                do throws(StorageError) {
                    let list = ISCSIDiscoveryList()
                    let session = try await login.session(turn, isDiscovery: true) {
                        (session) async throws(StorageError) in
                        try session.discover(into: list)
                        guard try await session.step("discover targets", answeredBy: .text) == 0 else {
                            throw session.failure(.connectionLost, "discover targets")
                        }
                    }
                    await login.end(session)
                    return list.targets
                } catch {
                    failure = error
                }
            }
            throw failure
        }
    }

    /// What libiscsi lists when it has asked a portal for its targets.
    @safe
    final class ISCSIDiscoveryList: @unchecked Sendable {
        // Sound: filled by the session that is asking, and read by the task that waits for it.
        var targets: [ISCSIDiscoveredTarget] = []
        weak var session: ISCSISession?
        /// More are not listed, however many a target sends.
        private static let largestCount = 65536

        /// Copies the list, which is libiscsi's for the time of the call.
        func take(_ data: UnsafeMutableRawPointer?) {
            var next = unsafe data?.assumingMemoryBound(to: iscsi_discovery_address.self)
            while let entry = unsafe next, targets.count < Self.largestCount {
                if let name = unsafe entry.pointee.target_name {
                    var target = unsafe ISCSIDiscoveredTarget(name: String(cString: name), portals: [])
                    var portal = unsafe entry.pointee.portals
                    while let address = unsafe portal, target.portals.count < 1024 {
                        if let text = unsafe address.pointee.portal {
                            unsafe target.portals.append(String(cString: text))
                        }
                        unsafe portal = address.pointee.next
                    }
                    targets.append(target)
                }
                unsafe next = entry.pointee.next
            }
        }
    }
#endif
