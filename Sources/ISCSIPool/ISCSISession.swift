#if ISCSI
    import BlockStorage
    import CISCSI
    import Glibc
    import IORuntime
    import SystemPackage

    /// One TCP connection to a target, by libiscsi.
    ///
    /// A session that breaks is not mended: it is ended, which takes every command and its memory back from the library
    /// at once, and a new one is made. So libiscsi's own reconnecting, with its queue of commands that nobody can take
    /// back, is never used.
    ///
    /// What a target sends has a place before it is asked for, and is looked at before the library gets it: see
    /// `ISCSIIntake`.
    @safe
    final class ISCSISession: @unchecked Sendable {
        // Sound: until it serves commands the session belongs to the one task that logs in; after that it is behind its
        // link's lock. libiscsi calls back only in calls that this class makes.
        private var context: OpaquePointer?
        /// Polled for readiness: another descriptor of libiscsi's socket, so that a poll never sees its number reused.
        private(set) var socket: Socket?
        /// The answer to connecting, logging in, a reset or logging out.
        private(set) var answer: Int32?
        /// Commands that libiscsi has given back since the last look.
        private var returned: [ISCSICommand] = []
        /// Tasks whose memory packets still queued may point to: freed when the queue is empty or the session ends.
        private var lingering: [UnsafeMutablePointer<scsi_task>] = unsafe []
        /// Where failures are noted that the target tells of late.
        private let lateFailure: Locked<SCSIStatus?>
        /// The target must prove itself, and whether it has sent what libiscsi then looks at.
        let needsProof: Bool
        var hasProof = false
        /// The tag of the last command.
        private(set) var lastTag: UInt32 = 0
        /// The commands that the target has, by tag.
        private(set) var commands: [UInt32: ISCSICommand] = [:]
        private var intake: ISCSIIntake?
        /// Why what the target has sent is not taken.
        private(set) var objection: StorageError?
        /// Headers carry a checksum once the login is done.
        var agreesOnDigest = false
        /// Pings since nothing was left to be sent.
        var pingCount = 0
        /// Pieces that are queued for one call of `service`.
        private var unsentCount = 0
        /// Whom the session is with.
        private(set) var address = ""
        /// The unit that commands go to, as REPORT LUNS writes it.
        var lun: UInt16 = 0

        /// A session that is not connected. Those of one `sessionIdentifier` and initiator name replace each other at
        /// the target, and with them their commands.
        init(
            _ target: ISCSITarget, sessionIdentifier: UInt64, isDiscovery: Bool, interface: String?,
            userTimeout: Duration, lateFailure: Locked<SCSIStatus?>
        ) throws(StorageError) {
            self.lateFailure = lateFailure
            needsProof = target.targetCredentials != nil
            guard let context = unsafe iscsi_create_context(target.initiatorName) else {
                throw StorageError(.internalError, "log in", at: target.name, why: "libiscsi makes no context")
            }
            unsafe self.context = context
            // Whatever the environment says: its messages have no place to go.
            unsafe iscsi_set_log_level(context, 0)
            unsafe iscsi_set_log_fn(context, { _, _ in })
            unsafe iscsi_set_noautoreconnect(context, 1)
            unsafe iscsi_set_isid_random(
                context, UInt32(sessionIdentifier & 0xff_ffff), UInt32(sessionIdentifier >> 24 & 0xffff))
            unsafe iscsi_set_session_type(context, isDiscovery ? ISCSI_SESSION_DISCOVERY : ISCSI_SESSION_NORMAL)
            unsafe iscsi_set_header_digest(
                context, target.headerDigest == .none ? ISCSI_HEADER_DIGEST_NONE : ISCSI_HEADER_DIGEST_CRC32C)
            if !isDiscovery { unsafe iscsi_set_targetname(context, target.name) }
            if let credentials = target.credentials {
                _ = credentials.secret.reveal {
                    unsafe iscsi_set_initiator_username_pwd(context, credentials.user, $0)
                }
            }
            if let credentials = target.targetCredentials {
                _ = credentials.secret.reveal {
                    unsafe iscsi_set_target_username_pwd(context, credentials.user, $0)
                }
            }
            // Data goes with its command, or when the target asks for it. What goes unasked would stay queued when the
            // target refuses the command.
            unsafe iscsi_set_initial_r2t(context, ISCSI_INITIAL_R2T_YES)
            unsafe iscsi_set_tcp_user_timeout(
                context, Int32(clamping: min(userTimeout, .seconds(1 << 20)).components.seconds * 1000))
            if var name = interface.map({ Array($0.utf8CString) }) {
                unsafe iscsi_set_bind_interfaces(context, &name)
            }
        }

        deinit { end() }

        /// Why the last call failed, in libiscsi's words. It names no secret.
        var message: String {
            if let objection { return objection.why }
            guard let text = unsafe context.flatMap({ unsafe iscsi_get_error($0) }) else { return "" }
            return unsafe String(cString: text).trimmingTrailingNewlines
        }

        /// Where the target asks to log in instead.
        var redirection: String? {
            guard let text = unsafe context.flatMap({ unsafe iscsi_get_target_address($0) }) else { return nil }
            let address = unsafe String(cString: text)
            return address.isEmpty ? nil : address
        }

        private var reference: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }

        private static let answered: iscsi_command_cb = { _, status, _, reference in
            guard let reference = unsafe reference else { return }
            // Sound: the session ends its context, and with it all callbacks, before it goes.
            unsafe Unmanaged<ISCSISession>.fromOpaque(reference).takeUnretainedValue().answer = status
        }

        // MARK: - Steps, each of which `answer` follows

        /// Begins to connect to an address: no name, which would be looked up here and now.
        func connect(_ address: String) throws(StorageError) {
            answer = nil
            self.address = address
            guard unsafe context != nil, unsafe iscsi_connect_async(context, address, Self.answered, reference) == 0
            else {
                throw failure(.connectionLost, "connect")
            }
            let descriptor = unsafe dup(iscsi_get_fd(context))
            guard descriptor >= 0 else { throw StorageError(SystemError(Errno(rawValue: errno), "dup"), "connect") }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = unsafe fcntl(iscsi_get_fd(context), F_SETFD, FD_CLOEXEC)
            let socket = Socket(owning: FileDescriptor(rawValue: descriptor))
            self.socket = socket
            do throws(SystemError) {
                intake = try ISCSIIntake(socket)
            } catch {
                throw StorageError(error, "connect")
            }
        }

        func logIn() throws(StorageError) {
            answer = nil
            guard unsafe context != nil, unsafe iscsi_login_async(context, Self.answered, reference) == 0 else {
                throw failure(.connectionLost, "log in")
            }
        }

        func beginLogOut() throws(StorageError) {
            answer = nil
            guard unsafe context != nil, unsafe iscsi_logout_async(context, Self.answered, reference) == 0 else {
                throw failure(.connectionLost, "log out")
            }
        }

        /// Begins to end every command that the unit has, whosever it is. The answer is the target's response.
        func resetUnit() throws(StorageError) {
            answer = nil
            guard unsafe context != nil else { throw failure(.connectionLost, "reset unit") }
            let result = unsafe iscsi_task_mgmt_lun_reset_async(
                context, UInt32(lun),
                { _, status, data, reference in
                    guard let reference = unsafe reference else { return }
                    // Sound: as in `answered`; the response is libiscsi's for the time of the call.
                    var answer: Int32 = -1
                    if status == Int32(SCSI_STATUS_GOOD.rawValue), let data = unsafe data {
                        answer = unsafe Int32(clamping: data.load(as: UInt32.self))
                    }
                    unsafe Unmanaged<ISCSISession>.fromOpaque(reference).takeUnretainedValue().answer = answer
                }, reference)
            guard result == 0 else { throw failure(.connectionLost, "reset unit") }
        }

        /// Begins to ask for the targets of a portal; `body` gets their names and portals.
        func discover(into list: ISCSIDiscoveryList) throws(StorageError) {
            answer = nil
            list.session = self
            guard unsafe context != nil else { throw failure(.connectionLost, "discover targets") }
            let result = unsafe iscsi_discovery_async(
                context,
                { _, status, data, reference in
                    guard let reference = unsafe reference else { return }
                    // Sound: whoever asked keeps the list until the session has ended.
                    let list = unsafe Unmanaged<ISCSIDiscoveryList>.fromOpaque(reference).takeUnretainedValue()
                    if status == Int32(SCSI_STATUS_GOOD.rawValue) { unsafe list.take(data) }
                    list.session?.answer = status
                }, Unmanaged.passUnretained(list).toOpaque())
            guard result == 0 else { throw failure(.connectionLost, "discover targets") }
        }

        // MARK: - Commands

        /// Gives a command to libiscsi, for `lun` or another unit; `service` sends it. False where the library takes no
        /// more.
        func send(_ command: ISCSICommand, to unit: UInt16? = nil) -> Bool {
            // Whoever cleans up after a failure may come when the session has ended, which libiscsi does not look at.
            guard unsafe context != nil else { return false }
            let request = command.request
            var block = request.block
            let direction =
                switch request.direction {
                case .none: SCSI_XFER_NONE
                case .fromTarget: SCSI_XFER_READ
                case .toTarget: SCSI_XFER_WRITE
                }
            let made = unsafe withUnsafeMutableBytes(of: &block) { bytes in
                unsafe scsi_create_task(
                    Int32(request.blockByteCount), bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    Int32(direction.rawValue), Int32(request.byteCount))
            }
            guard let task = unsafe made else { return false }
            // Every byte has a place from the start, so the library never collects what a target sends.
            switch request.direction {
            case .none: unsafe scsi_task_set_iov_in(task, command.pieces, 0)
            case .fromTarget: unsafe scsi_task_set_iov_in(task, command.pieces, command.pieceCount)
            case .toTarget:
                unsafe scsi_task_set_iov_out(task, command.pieces, command.pieceCount)
                unsafe scsi_task_set_iov_in(task, command.pieces, 0)
            }
            unsafe command.session = self
            unsafe command.task = task
            let result = unsafe iscsi_scsi_command_async(
                context, Int32(unit ?? lun), task,
                { _, status, _, reference in
                    guard let reference = unsafe reference else { return }
                    // Sound: the link keeps a command until the session has returned it or ended.
                    unsafe Unmanaged<ISCSICommand>.fromOpaque(reference).takeUnretainedValue().take(status)
                }, nil, Unmanaged.passUnretained(command).toOpaque())
            guard result == 0 else {
                unsafe scsi_free_scsi_task(task)
                unsafe command.task = nil
                return false
            }
            unsafe lastTag = task.pointee.itt
            commands[lastTag] = command
            unsentCount += request.direction == .toTarget ? 2 : 1
            return true
        }

        /// libiscsi has given a command back. Its task is freed later: the library is still in a call.
        fileprivate func take(_ command: ISCSICommand) {
            if case .refused(let status)? = command.outcome, status.isDeferred {
                lateFailure.withLock { $0 = $0 ?? status }
            }
            returned.append(command)
        }

        /// Lets libiscsi receive (`POLLIN`) or send (`POLLOUT`). While a step is outstanding it receives nothing but its
        /// answer, of `kind`. False when the session is lost.
        func service(_ events: Int32, expecting kind: ISCSIPacket.Kind? = nil) -> Bool {
            guard unsafe context != nil else { return false }
            var isAlive = true
            if events & POLLIN != 0 { isAlive = receive(kind) }
            if isAlive, events & ~POLLIN != 0 { isAlive = send(events & ~POLLIN) }
            if unsafe iscsi_out_queue_length(context) == 0, !wantsToSend {
                pingCount = 0
                if unsafe !lingering.isEmpty { freeLingering() }
            }
            return isAlive
        }

        private func receive(_ kind: ISCSIPacket.Kind?) -> Bool {
            let isLast = kind == nil && commands.count == 1 && unsentCount == 0 && !wantsToSend
            guard let intake, intake.receive(isLast: isLast) else { return false }
            do throws(StorageError) {
                var heldByteCount: Int
                repeat {
                    heldByteCount = intake.heldByteCount
                    let isAlive = try intake.pass(
                        to: unsafe iscsi_get_fd(context), hasDigest: agreesOnDigest && kind != .login,
                        onlyOne: kind != nil, asWhole: kind == .login
                    ) { (packet, data) throws(StorageError) in
                        try check(packet, data, expecting: kind)
                    } _: {
                        unsafe iscsi_service(context, POLLIN) == 0
                    }
                    guard isAlive else { return false }
                } while kind != nil && answer == nil && intake.heldByteCount < heldByteCount
                return true
            } catch {
                objection = error
                return false
            }
        }

        /// libiscsi sends each header and each piece of data by a call of its own, and so in a segment of its own: the
        /// kernel is to send what is queued together.
        private func send(_ events: Int32) -> Bool {
            let isBatch = unsentCount != 1
            unsentCount = 0
            if isBatch { setCork(1) }
            let isAlive = unsafe iscsi_service(context, events) == 0
            if isBatch { setCork(0) }
            return isAlive
        }

        private func setCork(_ value: Int32) {
            guard let socket else { return }
            var value = value
            _ = unsafe setsockopt(
                socket.descriptor.rawValue, Int32(IPPROTO_TCP), TCP_CORK, &value, socklen_t(MemoryLayout<Int32>.size))
        }

        /// What to wait for before the next call of `service`.
        var events: Int32 { unsafe context.map { unsafe iscsi_which_events($0) } ?? 0 }

        var wantsToSend: Bool { events & POLLOUT != 0 }

        /// Calls `body` with each command that came back. Those that come back as lost say that the session is.
        func takeReturned(_ body: (ISCSICommand) -> Void) {
            if returned.isEmpty { return }
            for command in returned {
                release(command)
                body(command)
            }
            returned.removeAll(keepingCapacity: true)
        }

        /// Takes the task of a command back that came back, or whose session has ended.
        func release(_ command: ISCSICommand) {
            unsafe command.session = nil
            guard let task = unsafe command.task else { return }
            unsafe command.task = nil
            unsafe commands[task.pointee.itt] = nil
            // A target may refuse a write before it has had all of it. What is queued of it must not be sent from
            // memory that is somebody else's by then: without a list libiscsi fails, and the session with it.
            if command.request.direction == .toTarget, unsafe context != nil,
                unsafe iscsi_out_queue_length(context) > 0 || wantsToSend
            {
                unsafe scsi_task_set_iov_out(task, nil, 0)
                unsafe lingering.append(task)
            } else {
                unsafe scsi_free_scsi_task(task)
            }
        }

        private func freeLingering() {
            unsafe lingering.forEach { unsafe scsi_free_scsi_task($0) }
            unsafe lingering.removeAll()
        }

        /// Takes everything back from libiscsi and closes the connection. Commands come back as lost.
        func end() {
            guard let ended = unsafe context else { return }
            // Whoever polls the descriptor wakes up, and the target hears of the end though the descriptor stays open.
            socket?.shutDown()
            unsafe iscsi_destroy_context(ended)
            unsafe context = nil
            intake = nil
            freeLingering()
        }

        func failure(_ code: StorageError.Code, _ what: String) -> StorageError {
            StorageError(objection?.code ?? code, what, why: message)
        }
    }

    /// A command on its way: waiting for a session, with libiscsi, or done.
    @safe
    final class ISCSICommand: @unchecked Sendable {
        /// How it ended.
        enum Outcome {
            /// Done; `missing` bytes were not transferred.
            case good(missing: Int)
            case refused(SCSIStatus)
            /// The session ended, or the library failed: the target may or may not have done it.
            case lost
            /// Not back at its deadline.
            case late
            case cancelled
            /// The link is closed.
            case closed
            /// Somebody else has the unit.
            case fenced(StorageError)
        }

        static let largestPieceCount = IOVector.capacity

        // Sound: behind the link's lock until the outcome is handed over, then the asking task's alone.
        let request: SCSICommand
        /// The caller's memory, which stays in place until the outcome is handed over.
        let pieces: UnsafeMutablePointer<scsi_iovec>
        private(set) var pieceCount: Int32 = 0
        /// On `MonotonicTime`'s scale.
        let due: UInt64
        private(set) var outcome: Outcome?
        var continuation: UnsafeContinuation<Void, Never>?
        fileprivate(set) var task: UnsafeMutablePointer<scsi_task>?
        fileprivate unowned(unsafe) var session: ISCSISession?
        /// Where it stands among those that the session has.
        var index = 0
        /// The task that asked, until the outcome is handed over.
        var asker: WaitingTask?
        /// What a busy target answered last.
        var refusal: SCSIStatus?
        /// How often it was put off.
        var refusalCount = 0
        /// A session was lost that had it, so that its end is not known.
        var isUncertain = false
        /// Up to where the target has sent data, or asked for it.
        var transferred = 0
        init(_ request: SCSICommand, due: UInt64) {
            (self.request, self.due) = (request, due)
            unsafe pieces = .allocate(capacity: Self.largestPieceCount)
        }

        deinit { unsafe pieces.deallocate() }

        /// Adds memory to transfer to or from, of at most `largestPieceCount` pieces.
        func add(_ memory: UnsafeMutableRawBufferPointer) {
            precondition(pieceCount < Int32(Self.largestPieceCount), "too many pieces of memory")
            unsafe pieces[Int(pieceCount)] = unsafe scsi_iovec(iov_base: memory.baseAddress, iov_len: memory.count)
            pieceCount += 1
        }

        /// Hands the outcome over.
        func finish(_ outcome: Outcome) {
            self.outcome = outcome
            asker = nil
            let waiter = unsafe continuation
            unsafe continuation = nil
            unsafe waiter?.resume()
        }

        var isCancelled: Bool { asker?.isCancelled ?? false }

        /// Forgets an outcome after which the command is sent again.
        func reset() { (outcome, transferred) = (nil, 0) }

        fileprivate func take(_ status: Int32) {
            guard let session = unsafe session else { return }
            outcome = read(status)
            session.take(self)
        }

        private func read(_ status: Int32) -> Outcome {
            guard let task = unsafe task else { return .lost }
            let isShort = unsafe task.pointee.residual_status == SCSI_RESIDUAL_UNDERFLOW
            var missing = isShort ? unsafe Int(clamping: task.pointee.residual) : 0
            // Whatever the target says of it.
            if request.direction == .fromTarget { missing = max(missing, request.byteCount - transferred) }
            if status == Int32(SCSI_STATUS_GOOD.rawValue) { return .good(missing: missing) }
            guard let code = UInt8(exactly: status) else { return .lost }
            guard code == SCSIStatus.checkCondition else { return .refused(SCSIStatus(code: code)) }
            // libiscsi reads the sense, too, but past the end of one that is short. It begins with its length.
            let answer = unsafe UnsafeRawBufferPointer(
                start: task.pointee.datain.data, count: Int(max(0, task.pointee.datain.size)))
            let sense = unsafe RawSpan(_unsafeBytes: answer)
            let refusal = SCSIStatus(sense: sense.extracting(droppingFirst: min(2, sense.byteCount)))
            return sense.byteCount > 4 && refusal.isGood ? .good(missing: missing) : .refused(refusal)
        }
    }

    extension String {
        fileprivate var trimmingTrailingNewlines: String {
            var text = self
            while text.last?.isNewline == true { text.removeLast() }
            return text
        }
    }
#endif
