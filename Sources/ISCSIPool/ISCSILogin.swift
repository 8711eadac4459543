#if ISCSI
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// Makes sessions with one target, each by the first portal that answers.
    ///
    /// All have the same session identifier, so that the target takes a new one for the old one's successor and ends
    /// what the old one has.
    struct ISCSILogin: Sendable {
        let target: ISCSITarget
        let deadline: IODeadline
        /// The first failure that the target told of later than of the command that failed.
        let lateFailure = Locked<SCSIStatus?>(nil)
        /// Called after a session that was to take another's place was refused, before the next attempt, which is made
        /// whatever becomes of it.
        var willReconnect: (@Sendable () async throws(StorageError) -> Void)?
        private let sessionIdentifier = UInt64.random(in: 0..<1 << 40)
        /// Looks names up; a name server that hangs holds nobody else.
        private let resolver: BlockingPool

        init(_ target: ISCSITarget, deadline: IODeadline) throws(StorageError) {
            try target.check()
            (self.target, self.deadline) = (target, deadline)
            resolver = BlockingPool(threads: 2, deadline: deadline)
        }

        /// How long to wait after a number of failures in a row.
        func backoff(after failures: Int) -> Duration {
            // Each portal is tried once without a wait.
            if failures % target.portals.count != 0 { return .zero }
            let rounds = min(6, failures / target.portals.count)
            return min(.milliseconds(25 << rounds), deadline.limit / 16, .seconds(1))
        }

        /// Has the target told again what it may have forgotten. Who could do that need neither be there nor be quick.
        func remind() async {
            guard let willReconnect else { return }
            let late = StorageError(.timedOut, "log in", at: target.name)
            try? await within(min(deadline.limit / 4, .seconds(5)), or: late) { () async throws(StorageError) in
                try await willReconnect()
            }
        }

        /// A session by portal `turn`, counted in a circle, for which `prepare` has succeeded.
        ///
        /// Of a deadline that is long, all portals together may take half until they have let us in, so that there is
        /// time for another round; and half is the most that a target takes that then gets ready.
        func session(
            _ turn: Int = 0, isDiscovery: Bool = false,
            prepare: @escaping @Sendable (ISCSISession) async throws(StorageError) -> Void
        ) async throws(StorageError) -> ISCSISession {
            let portal = target.portals[turn % target.portals.count]
            let limit = max(deadline.limit / 2, min(deadline.limit, .seconds(5)))
            let patience = max(limit / target.portals.count, min(limit, .seconds(2)))
            let session = try await bounded(patience, portal) { () async throws(StorageError) in
                try await logIn(portal, isDiscovery: isDiscovery)
            }
            session.turn = turn
            do throws(StorageError) {
                try await bounded(limit, portal) { () async throws(StorageError) in try await prepare(session) }
            } catch {
                session.end()
                throw error
            }
            return session
        }

        private func logIn(_ portal: String, isDiscovery: Bool) async throws(StorageError) -> ISCSISession {
            var address = try await ISCSIAddress.resolve(portal, resolver)
            for _ in 0..<4 {
                let session = try await connect(address)
                do throws(StorageError) {
                    let negotiation = ISCSINegotiation(
                        session: session, target: target, sessionIdentifier: sessionIdentifier,
                        isDiscovery: isDiscovery)
                    switch try await negotiation.run() {
                    case .loggedIn: return session
                    case .redirected(let other):
                        session.end()
                        guard ISCSIAddress.parse(other) != nil else {
                            throw StorageError(
                                .connectionLost, "log in", at: portal,
                                why: "the target redirects to what is no address")
                        }
                        address = try await ISCSIAddress.resolve(other, resolver)
                    }
                } catch {
                    session.end()
                    throw error
                }
            }
            throw StorageError(.connectionLost, "log in", at: portal, why: "the target redirects in a circle")
        }

        /// Logs out, as far as the target takes part, and ends the session.
        func end(_ session: ISCSISession) async {
            _ = try? await bounded(min(deadline.limit, .seconds(1)), target.name) { () async throws(StorageError) in
                try await session.logOut()
            }
            session.end()
        }

        private func connect(_ address: ISCSIAddress) async throws(StorageError) -> ISCSISession {
            let socket: Socket
            do throws(SystemError) {
                socket = try await Socket.connect(
                    to: .tcp(host: address.host, port: address.port), from: target.boundAddress)
            } catch {
                if error.call == "bind", let bound = target.boundAddress {
                    throw StorageError(
                        .invalidArgument, "connect", at: "\(address)",
                        why: "connections cannot come from \(bound): \(error.errno)")
                }
                let code: StorageError.Code = error.errno == .canceled ? .cancelled : .connectionLost
                throw StorageError(code, "connect", at: "\(address)", why: "\(error.errno)")
            }
            return ISCSISession(socket, at: "\(address)", silence: longestSilence, lateFailure: lateFailure)
        }

        /// How long a peer may acknowledge nothing. Where there is another portal, what is on its way then has time to be
        /// done by that.
        private var longestSilence: Duration { deadline.limit / (target.portals.count > 1 ? 4 : 2) }

        /// Runs `body` for at most `limit`; errors name the portal.
        private func bounded<Result: Sendable>(
            _ limit: Duration, _ portal: String,
            _ body: @escaping @Sendable () async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let late = StorageError(.timedOut, "log in", at: portal, why: "the target does not answer")
            do throws(StorageError) {
                return try await within(limit, or: late, body)
            } catch {
                throw StorageError(error.code, error.what, at: portal, why: error.why)
            }
        }
    }
#endif
