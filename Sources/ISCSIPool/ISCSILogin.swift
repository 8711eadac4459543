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
        /// Called before a session is made that takes another's place.
        var willConnect: (@Sendable () async throws(StorageError) -> Void)?
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

        /// A session by portal `turn`, counted in a circle, for which `prepare` has succeeded. Of a deadline that is
        /// long it takes half at most, so that there is time for another.
        func session(
            _ turn: Int = 0, isDiscovery: Bool = false,
            prepare: @escaping @Sendable (ISCSISession) async throws(StorageError) -> Void
        ) async throws(StorageError) -> ISCSISession {
            let portal = target.portals[turn % target.portals.count]
            let limit = max(deadline.limit / 2, min(deadline.limit, .seconds(5)))
            return try await bounded(limit, portal) { () async throws(StorageError) in
                var address = try await ISCSIAddress.resolve(portal, resolver)
                for _ in 0..<4 {
                    let session = try make(isDiscovery: isDiscovery)
                    do throws(StorageError) {
                        try await connect(session, address)
                        if try await logIn(session) {
                            try await prepare(session)
                            return session
                        }
                        guard let redirection = session.redirection else {
                            throw session.failure(.connectionLost, "log in")
                        }
                        address = try await ISCSIAddress.resolve(redirection, resolver)
                        session.end()
                    } catch {
                        session.end()
                        throw error
                    }
                }
                throw StorageError(.connectionLost, "log in", at: portal, why: "the target redirects in a circle")
            }
        }

        /// Logs out, as far as the target takes part, and ends the session.
        func end(_ session: ISCSISession) async {
            _ = try? await bounded(min(deadline.limit, .seconds(1)), target.name) { () async throws(StorageError) in
                try await session.logOut()
            }
            session.end()
        }

        private func make(isDiscovery: Bool) throws(StorageError) -> ISCSISession {
            var interface: String?
            if let address = target.boundAddress { interface = try ISCSIAddress.interface(of: address) }
            return try ISCSISession(
                target, sessionIdentifier: sessionIdentifier, isDiscovery: isDiscovery, interface: interface,
                userTimeout: max(deadline.limit / 2, .seconds(1)), lateFailure: lateFailure)
        }

        private func connect(_ session: ISCSISession, _ address: String) async throws(StorageError) {
            try session.connect(address)
            guard try await session.step("connect") == 0, let socket = session.socket else {
                throw session.failure(.connectionLost, "connect")
            }
            // libiscsi goes on without it where it may not choose the interface.
            guard let bound = target.boundAddress else { return }
            let local: String
            do throws(SystemError) {
                local = try ISCSIAddress.local(of: socket.descriptor.rawValue)
            } catch {
                throw StorageError(error, "connect", at: address)
            }
            guard local == bound else {
                throw StorageError(
                    .invalidArgument, "connect", at: address, why: "connections come from \(local), not from \(bound)")
            }
        }

        /// False where the target is to be reached elsewhere.
        private func logIn(_ session: ISCSISession) async throws(StorageError) -> Bool {
            try session.logIn()
            switch try await session.step("log in", answeredBy: .login) {
            case 0: return true
            case ISCSISession.redirected: return false
            default: throw session.loginFailure
            }
        }

        /// Runs `body` for at most `limit`; then, or when the task is cancelled, its waits end.
        private func bounded<Result: Sendable>(
            _ limit: Duration, _ portal: String,
            _ body: @escaping @Sendable () async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            // Never on the threads that others may block.
            let executor = IOExecutor.current ?? IOExecutorGroup.shared.next()
            let work = Task(executorPreference: executor) { () async -> Swift.Result<Result, StorageError> in
                do throws(StorageError) { return .success(try await body()) } catch { return .failure(error) }
            }
            let timer = Task(executorPreference: executor) {
                await IOExecutor.sleep(for: limit)
                work.cancel()
            }
            let result = await withTaskCancellationHandler {
                await work.value
            } onCancel: {
                work.cancel()
            }
            timer.cancel()
            if case .failure(let error) = result, error.code == .cancelled, !Task.isCancelled {
                throw StorageError(.timedOut, "log in", at: portal, why: "the target does not answer")
            }
            do throws(StorageError) {
                return try result.get()
            } catch {
                throw StorageError(error.code, error.what, at: portal, why: error.why)
            }
        }
    }

    extension ISCSISession {
        static let redirected: Int32 = 0x101

        /// Waits for the answer to the step that has begun, by a packet of one kind. Throws `cancelled` when the task is
        /// cancelled, and `connectionLost`.
        func step(_ what: String, answeredBy kind: ISCSIPacket.Kind? = nil) async throws(StorageError) -> Int32 {
            try await drive(what, answeredBy: kind) { self.answer != nil }
            return answer ?? -1
        }

        /// Serves the session until `isDone`.
        func drive(
            _ what: String, answeredBy kind: ISCSIPacket.Kind? = nil, until isDone: () -> Bool
        ) async throws(StorageError) {
            while !isDone() {
                guard let socket else { throw failure(.connectionLost, what) }
                var ready: Int32
                do throws(SystemError) {
                    ready = try await IOExecutor.ready(socket.descriptor.rawValue, for: events)
                } catch {
                    throw StorageError(error, what)
                }
                // What the target sent before it closed the connection says why.
                if ready & POLLIN != 0 { ready &= POLLIN | POLLOUT }
                let isAlive = service(ready, expecting: kind)
                takeReturned { command in command.finish(command.outcome ?? .lost) }
                if !isAlive, !isDone() { throw kind == .login ? loginFailure : failure(.connectionLost, what) }
            }
        }

        /// Says to the target that the session ends, and waits until it has heard. What it answers is not looked at.
        func logOut() async throws(StorageError) {
            try beginLogOut()
            guard let socket else { return }
            do throws(SystemError) {
                while wantsToSend {
                    _ = try await IOExecutor.ready(socket.descriptor.rawValue, for: POLLOUT)
                    guard service(POLLOUT) else { return }
                }
                _ = try await IOExecutor.ready(socket.descriptor.rawValue, for: POLLIN)
            } catch {
                throw StorageError(error, "log out")
            }
        }

        /// What libiscsi says of a login that failed: at its end stands the target's status (RFC 7143, 11.13.5).
        var loginFailure: StorageError {
            if let objection { return objection }
            let text = message
            let number = text.last == ")" ? text.dropLast().split(separator: "(").last.flatMap { UInt16($0) } : nil
            let code: StorageError.Code =
                switch number {
                case 0x0201?: .authenticationFailed
                case 0x0202?: .permissionDenied
                case 0x0203?, 0x0204?: .notFound
                default:
                    ["CHAP", "uthentication"].contains(where: text.contains) ? .authenticationFailed : .connectionLost
                }
            return failure(code, "log in")
        }
    }
#endif
