import BlockStorage
import IORuntime
import SystemPackage

/// Manages a tgtd by its management socket, as `tgtadm` does, but with secrets in no argument list.
///
/// tgtd does one request at a time, and forgets everything when it ends. It answers only to the user that it runs as.
/// Each call has a connection of its own, and ends within the deadline: `timedOut` then, `connectionLost` where nobody
/// listens or the answer is cut short, and `inputOutput` for an answer that is none. A request that was late may still
/// be done.
public struct TGTControl: Sendable {
    /// The path of tgtd's socket.
    public let path: String
    private let deadline: Duration

    /// Where tgtd listens that was started with `--control-port NUMBER` and without `TGT_IPC_SOCKET`.
    public static let defaultPath = "/var/run/tgtd/socket"

    /// The socket of the tgtd with a control port, 0 unless it was told otherwise; `base` is its `TGT_IPC_SOCKET`.
    public init(port: UInt16 = 0, base: String = defaultPath, deadline: Duration = .seconds(10)) {
        self.init(path: "\(base).\(port)", deadline: deadline)
    }

    /// The socket at a path.
    public init(path: String, deadline: Duration = .seconds(10)) {
        (self.path, self.deadline) = (path, deadline)
    }

    /// Throws unless tgtd answers.
    public func check() async throws(StorageError) {
        try await perform(TGTRequest(.system, .show), "ask tgtd")
    }

    // MARK: - Targets

    /// All targets with their units, sessions, accounts and access rules.
    public func targets() async throws(StorageError) -> [TGTTarget] {
        let text = try await perform(TGTRequest(.target, .show, target: -1), "list targets")
        return try TGTTarget.list(text, at: path)
    }

    /// Makes a target that nobody can log in to yet. Throws `alreadyExists` where its number or its name is taken.
    public func createTarget(_ number: Int32, name: String) async throws(StorageError) {
        try check(number)
        let text = try parameters([("targetname", name)])
        try await perform(TGTRequest(.target, .new, target: number), text: text, "create target", name)
    }

    /// Removes a target and its units. Throws `busy` while it has sessions, unless `isForced`: that ends tgtd itself
    /// where a session has commands that do not end.
    public func deleteTarget(_ number: Int32, isForced: Bool = false) async throws(StorageError) {
        try check(number)
        var request = TGTRequest(.target, .delete, target: number)
        request.isForced = isForced
        try await perform(request, "delete target", "\(number)")
    }

    /// Lets the headers of a target's packets carry checksums, for the sessions that begin after that and offer them.
    public func permitHeaderDigest(target number: Int32) async throws(StorageError) {
        try check(number)
        try await perform(
            TGTRequest(.target, .update, target: number), text: "HeaderDigest=CRC32C", "change target", "\(number)")
    }

    /// Lets initiators log in: those with a name, those at an address or in a network, or `ALL` addresses. Where any
    /// name is given, only names count.
    public func allow(_ initiator: TGTInitiator, target number: Int32) async throws(StorageError) {
        try check(number)
        let text = try parameters([initiator.parameter])
        try await perform(
            TGTRequest(.target, .bind, target: number), text: text, "allow initiators", "target \(number)")
    }

    /// Takes that back; sessions that there are go on.
    public func disallow(_ initiator: TGTInitiator, target number: Int32) async throws(StorageError) {
        try check(number)
        let text = try parameters([initiator.parameter])
        try await perform(
            TGTRequest(.target, .unbind, target: number), text: text, "disallow initiators", "target \(number)")
    }

    // MARK: - Units

    /// Adds a file or block device as a unit of a target. Unit 0 is tgtd's own. Its identity is one that others may
    /// have, until `identify`.
    public func createUnit(
        _ unit: UInt16, target number: Int32, path: String, store: String = "rdwr", blockSize: UInt32 = 512
    ) async throws(StorageError) {
        try check(number)
        let text = try parameters([("path", path), ("bstype", store), ("blocksize", "\(blockSize)")])
        try await perform(
            TGTRequest(.device, .new, target: number, unit: UInt64(unit)), text: text, "create unit", path)
    }

    /// Gives a unit an identity, of at most 24 signs, that no other has, and says whether blocks can be deallocated and
    /// written.
    public func identify(
        _ unit: UInt16, target number: Int32, identity: String, serialNumber: String, isThin: Bool = true,
        isReadOnly: Bool = false
    ) async throws(StorageError) {
        try check(number)
        let text = try parameters([
            ("scsi_id", identity), ("scsi_sn", serialNumber), ("thin_provisioning", isThin ? "1" : "0"),
            ("readonly", isReadOnly ? "1" : "0"),
        ])
        // A word that it skips comes first.
        try await perform(
            TGTRequest(.device, .update, target: number, unit: UInt64(unit)), text: "targetOps \(text),",
            "identify unit",
            "target \(number)")
    }

    /// Has a unit be another file, or the same with the size that it has now, without the unit being away: sessions and
    /// reservations stay. A command that tgtd's threads are just doing may fail with a medium error, which is rare. After
    /// an error the unit may be without a file.
    public func reopenUnit(_ unit: UInt16, target number: Int32, path: String) async throws(StorageError) {
        try check(number)
        // One request: no command comes between its parts.
        let text = try parameters([("online", "0"), ("path", path), ("online", "1")])
        try await perform(
            TGTRequest(.device, .update, target: number, unit: UInt64(unit)), text: "targetOps \(text),", "reopen unit",
            path)
    }

    /// Throws `busy` while it has commands, and `notFound`.
    public func deleteUnit(_ unit: UInt16, target number: Int32) async throws(StorageError) {
        try check(number)
        try await perform(
            TGTRequest(.device, .delete, target: number, unit: UInt64(unit)), "delete unit",
            "target \(number), unit \(unit)")
    }

    // MARK: - Accounts

    /// The names of all accounts.
    public func accounts() async throws(StorageError) -> [String] {
        let text = try await perform(TGTRequest(.account, .show), "list accounts")
        return text.split(separator: "\n").dropFirst().map { String($0.drop { $0 == " " }) }
    }

    /// Makes an account for CHAP. Throws `alreadyExists` where there is one of that name, whatever its secret is.
    public func createAccount(_ user: String, secret: Secret) async throws(StorageError) {
        let text = try secret.reveal { text throws(StorageError) in
            try parameters([("user", user), ("password", text)])
        }
        try await perform(TGTRequest(.account, .new), text: text, "create account", user)
    }

    /// Removes an account, from its targets too.
    public func deleteAccount(_ user: String) async throws(StorageError) {
        try await perform(TGTRequest(.account, .delete), text: parameters([("user", user)]), "delete account", user)
    }

    /// Has a target ask for an account's secret, or (`isOutgoing`) prove itself with it, which one account can be for.
    public func bindAccount(
        _ user: String, target number: Int32, isOutgoing: Bool = false
    ) async throws(StorageError) {
        try check(number)
        var request = TGTRequest(.account, .bind, target: number)
        request.direction = isOutgoing ? 1 : 0
        try await perform(request, text: parameters([("user", user)]), "bind account", user)
    }

    /// Takes that back.
    public func unbindAccount(
        _ user: String, target number: Int32, isOutgoing: Bool = false
    ) async throws(StorageError) {
        try check(number)
        var request = TGTRequest(.account, .unbind, target: number)
        request.direction = isOutgoing ? 1 : 0
        try await perform(request, text: parameters([("user", user)]), "unbind account", user)
    }

    // MARK: - Sessions

    /// The connections of a target.
    public func connections(target number: Int32) async throws(StorageError) -> [TGTConnection] {
        try check(number)
        let text = try await perform(
            TGTRequest(.connection, .show, target: number), "list sessions", "target \(number)")
        return TGTConnection.list(text)
    }

    /// Ends a connection, and its session where it has no other.
    public func close(_ connection: TGTConnection, target number: Int32) async throws(StorageError) {
        try check(number)
        var request = TGTRequest(.connection, .delete, target: number)
        request.session = connection.session
        request.connection = connection.number
        try await perform(request, "end session", "target \(number)")
    }

    // MARK: -

    private func check(_ number: Int32) throws(StorageError) {
        guard number > 0 else {
            throw StorageError(.invalidArgument, "ask tgtd", at: path, why: "targets are numbered from 1")
        }
    }

    /// `name=value`, separated by commas. Throws `invalidArgument` for a value that would end there, or is too long.
    private func parameters(_ list: [(name: String, value: String)]) throws(StorageError) -> String {
        for (name, value) in list {
            let isPlain = value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: ",") }
            guard isPlain, !value.isEmpty, value.utf8.count <= 1023 else {
                // A value may be a secret.
                throw StorageError(
                    .invalidArgument, "ask tgtd", at: path,
                    why: "its \(name) must have 1 to 1023 signs, none of them a comma, a space or a control character")
            }
        }
        return list.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
    }

    /// The text of the answer.
    @discardableResult
    func perform(
        _ request: TGTRequest, text: String = "", _ what: String, _ place: String = ""
    ) async throws(StorageError) -> String {
        let place = place.isEmpty ? path : "\(path), \(place)"
        let bytes = request.bytes(text: text)
        let path = path
        let work = Task { () async -> Result<[UInt8], SystemError> in
            do throws(SystemError) { return .success(try await Self.exchange(bytes, path)) } catch {
                return .failure(error)
            }
        }
        let isLate = Locked(false)
        let timer = Task { [deadline] in
            await IOExecutor.sleep(for: deadline)
            if Task.isCancelled { return }
            isLate.withLock { $0 = true }
            work.cancel()
        }
        let result = await withTaskCancellationHandler {
            await work.value
        } onCancel: {
            work.cancel()
        }
        timer.cancel()
        let answer: [UInt8]
        do throws(SystemError) {
            answer = try result.get()
        } catch {
            if error.errno == .canceled, isLate.withLock({ $0 }) {
                throw StorageError(.timedOut, what, at: place, why: "tgtd does not answer within \(deadline)")
            }
            if error.errno == .noSuchFileOrDirectory || error.errno == .connectionRefused {
                throw StorageError(.connectionLost, what, at: place, why: "no tgtd listens there")
            }
            if error.errno == .outOfRange {
                throw StorageError(.inputOutput, what, at: place, why: "what answers is no tgtd")
            }
            throw StorageError(error, what, at: place)
        }
        guard let number = answer.number(at: 0) else {
            throw StorageError(.inputOutput, what, at: place, why: "what answers is no tgtd")
        }
        guard number == 0 else { throw TGTRefusal(number: number).error(what, at: place) }
        let body = answer.dropFirst(TGTRequest.answerHeaderByteCount)
        return String(decoding: body.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// A connection on which the whole request is sent, whoever cancels: tgtd never lets go of one that ends before that,
    /// and asks it for more as fast as it can.
    static func connect(_ path: String, sending request: [UInt8]) async throws(SystemError) -> Socket {
        let socket = try await Socket.connect(to: .unix(path: path))
        // It fits into what the socket holds, so that it does not wait for tgtd.
        let sent = Task { () async -> SystemError? in
            do throws(SystemError) {
                try await socket.send(request.rawBytes)
                return nil
            } catch {
                return error
            }
        }
        if let error = await sent.value {
            socket.close()
            throw error
        }
        return socket
    }

    /// The answer, header and all. Throws `outOfRange` for one whose length cannot be.
    private static func exchange(_ request: [UInt8], _ path: String) async throws(SystemError) -> [UInt8] {
        let socket = try await connect(path, sending: request)
        defer { socket.close() }
        var answer = [UInt8](repeating: 0, count: TGTRequest.answerHeaderByteCount)
        var header = answer.mutableRawBytes
        try await socket.receiveAll(into: &header)
        guard let length = answer.number(at: 4), length >= answer.count,
            length <= TGTRequest.largestAnswerByteCount
        else { throw SystemError(.outOfRange, "tgtd's answer") }
        var missing = Int(length) - answer.count
        // The room grows with what has come, whatever the length says.
        while missing > 0 {
            var part = [UInt8](repeating: 0, count: min(missing, 64 << 10))
            var span = part.mutableRawBytes
            let count = try await socket.receive(into: &span)
            if count == 0 { throw SystemError(.connectionReset, "recv") }
            answer += part.prefix(count)
            missing -= count
        }
        return answer
    }
}
