import BlockStorage
import IORuntime
import TGTControl

extension TGTVolumes {
    /// How long commands and sessions that are to end may take.
    private static let patience = Duration.seconds(10)

    public func export(
        _ volumes: [VolumeExport], cluster: String, keeping data: Set<String>
    ) async throws(StorageError) {
        let listed = try await control.targets()
        let wanted = Dictionary(volumes.map { ($0.name, $0) }) { first, _ in first }
        var targets: [String: TGTTarget] = [:]
        for target in listed where target.name.hasPrefix(cluster) {
            if wanted[target.name] == nil {
                try await end(target)
                known.withLock { known in
                    known.exports[target.name] = nil
                    known.targets[target.number] = nil
                }
            } else {
                targets[target.name] = target
            }
        }
        // Those of a tgtd that was restarted are gone without being ended.
        known.withLock { known in known.exports = known.exports.filter { targets[$0.key] != nil } }
        try await makeAccounts(volumes, targets: &targets)
        var taken = Set(listed.map(\.number))
        for volume in volumes {
            let target: TGTTarget
            if let found = targets[volume.name] {
                target = found
            } else {
                target = TGTTarget(number: try await create(volume, taken: &taken), name: volume.name)
            }
            try await complete(target, volume)
            known.withLock { known in
                known.exports[volume.name] = volume
                known.targets[target.number] = volume.volumeID
            }
        }
        try await files.remove { !data.contains($0) }
    }

    // MARK: - Accounts

    /// Has the accounts that the volumes need, with the secrets that they have now. A target whose account is made anew
    /// lets nobody in meanwhile.
    private func makeAccounts(
        _ volumes: [VolumeExport], targets: inout [String: TGTTarget]
    ) async throws(StorageError) {
        var secrets: [String: Secret] = [:]
        for case .account(let user, let initiator, let target) in volumes.map(\.access) {
            (secrets[user], secrets[TargetAccount.outgoing(of: user).user]) = (initiator, target)
        }
        let old = known.withLock { $0.secrets }
        guard !secrets.isEmpty || !old.isEmpty else { return }
        let there = Set(try await control.accounts())
        for (user, secret) in secrets where !there.contains(user) || old[user] != secret {
            if there.contains(user) {
                for (name, target) in targets {
                    let kept = target.accounts.filter { TargetAccount($0).user != user }
                    guard kept != target.accounts else { continue }
                    try await shut(target)
                    targets[name]?.rules = []
                    targets[name]?.accounts = kept
                }
                try await unless(.notFound) { () async throws(StorageError) in
                    try await control.deleteAccount(user)
                }
            }
            try await control.createAccount(user, secret: secret)
        }
        for user in old.keys where secrets[user] == nil && there.contains(user) {
            try await unless(.notFound) { () async throws(StorageError) in try await control.deleteAccount(user) }
        }
        known.withLock { $0.secrets = secrets }
    }

    // MARK: - Targets

    private func create(_ volume: VolumeExport, taken: inout Set<Int32>) async throws(StorageError) -> Int32 {
        var number = Int32(clamping: max(1, volume.volumeID))
        while true {
            while taken.contains(number) { number = number == .max ? 1 : number + 1 }
            taken.insert(number)
            do throws(StorageError) {
                try await control.createTarget(number, name: volume.name)
                return number
            } catch {
                // Somebody else has taken the number since.
                guard error.code == .alreadyExists, taken.count < 100_000 else { throw error }
            }
        }
    }

    /// Makes a target what it should be. Initiators are let in last.
    private func complete(_ target: TGTTarget, _ volume: VolumeExport) async throws(StorageError) {
        let accounts: [String]
        let rules: [String]
        switch volume.access {
        case .account(let user, _, _): (accounts, rules) = ([user, TargetAccount.outgoing(of: user).text], ["ALL"])
        case .initiators(let names): (accounts, rules) = ([], names)
        }
        if Set(target.accounts) != Set(accounts) || Set(target.rules) != Set(rules) {
            try await shut(target)
            for account in target.accounts.filter({ !accounts.contains($0) }).map(TargetAccount.init) {
                try await unless(.notFound) { () async throws(StorageError) in
                    try await control.unbindAccount(
                        account.user, target: target.number, isOutgoing: account.isOutgoing)
                }
            }
            // Who is logged in may be one that is not let in any more.
            if !target.accounts.isEmpty || !target.rules.isEmpty { try await endSessions(of: target) }
            for account in accounts.filter({ !target.accounts.contains($0) }).map(TargetAccount.init) {
                try await control.bindAccount(account.user, target: target.number, isOutgoing: account.isOutgoing)
            }
        }
        try await serveUnit(of: target, volume)
        if Set(target.accounts) != Set(accounts) || Set(target.rules) != Set(rules) {
            for rule in rules {
                try await unless(.alreadyExists) { () async throws(StorageError) in
                    try await control.allow(rule == "ALL" ? .all : .name(rule), target: target.number)
                }
            }
        }
    }

    /// A unit that grows or gets other bytes is there all the time; one that changes otherwise is gone for a moment.
    private func serveUnit(of target: TGTTarget, _ volume: VolumeExport) async throws(StorageError) {
        let path = files.path(of: volume.dataID)
        let unit = target.units.first { $0.number == UInt64(Self.unit) }
        let old = known.withLock { $0.exports[volume.name] }
        let isSame =
            old.map { ($0.size, $0.blockSize) == (volume.size, volume.blockSize) && $0.isReadOnly == volume.isReadOnly }
            // Of a unit that was there before this process nobody knows its size; with nobody logged in it can be made anew.
            ?? !target.initiators.isEmpty
        if let unit, isSame, unit.path == path, unit.identity?.hasPrefix(volume.identity) == true { return }
        if let unit, unit.identity?.hasPrefix(volume.identity) == true,
            old.map({ $0.blockSize == volume.blockSize && $0.isReadOnly == volume.isReadOnly }) == true,
            (try? await control.reopenUnit(Self.unit, target: target.number, path: path)) != nil
        {
            return
        }
        if unit != nil {
            try await patiently { () async throws(StorageError) in
                try await unless(.notFound) { () async throws(StorageError) in
                    try await control.deleteUnit(Self.unit, target: target.number)
                }
            }
        }
        try await control.createUnit(
            Self.unit, target: target.number, path: path, blockSize: UInt32(volume.blockSize))
        try await control.identify(
            Self.unit, target: target.number, identity: volume.identity, serialNumber: volume.identity,
            isReadOnly: volume.isReadOnly)
    }

    /// Ends a target: nobody can log in any more, then those go who are logged in, then the unit, and the target.
    private func end(_ target: TGTTarget) async throws(StorageError) {
        try await shut(target)
        try await patiently { () async throws(StorageError) in
            try await unless(.notFound) { () async throws(StorageError) in
                // By force it would end tgtd itself where a session has commands left.
                try await endSessions(of: target)
                for unit in target.units where unit.number != 0 {
                    try await unless(.notFound) { () async throws(StorageError) in
                        try await control.deleteUnit(UInt16(clamping: unit.number), target: target.number)
                    }
                }
                try await control.deleteTarget(target.number)
            }
        }
    }

    private func endSessions(of target: TGTTarget) async throws(StorageError) {
        for connection in try await control.connections(target: target.number) {
            try await unless(.notFound) { () async throws(StorageError) in
                try await control.close(connection, target: target.number)
            }
        }
    }

    /// Lets nobody else log in.
    private func shut(_ target: TGTTarget) async throws(StorageError) {
        for rule in target.rules {
            try await unless(.notFound) { () async throws(StorageError) in
                try await control.disallow(rule == "ALL" ? .all : .name(rule), target: target.number)
            }
        }
    }

    /// Tries again while it is busy.
    private func patiently(_ body: () async throws(StorageError) -> Void) async throws(StorageError) {
        let end = ContinuousClock.now + Self.patience
        while true {
            do throws(StorageError) {
                return try await body()
            } catch {
                guard error.code == .busy, ContinuousClock.now < end, !Task.isCancelled else { throw error }
            }
            await IOExecutor.sleep(for: .milliseconds(2))
        }
    }

    private func unless(
        _ code: StorageError.Code, _ body: () async throws(StorageError) -> Void
    ) async throws(StorageError) {
        do throws(StorageError) {
            try await body()
        } catch {
            if error.code != code { throw error }
        }
    }
}

/// An account of a target, as tgtd lists it.
private struct TargetAccount {
    let user: String
    /// Whether the target proves itself with it.
    let isOutgoing: Bool

    private static let mark = " (outgoing)"

    /// By which the targets of an account of the array prove themselves: tgtd has one secret for a name.
    static func outgoing(of user: String) -> TargetAccount { TargetAccount("\(user).target\(mark)") }

    init(_ text: String) {
        isOutgoing = text.hasSuffix(Self.mark)
        user = isOutgoing ? String(text.dropLast(Self.mark.count)) : text
    }

    var text: String { isOutgoing ? user + Self.mark : user }
}
