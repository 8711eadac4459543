#if ISCSI
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// The directory of a tgt pool: units' files, and the state of the pool, which one process at a time changes.
    struct TGTStore: Sendable {
        /// The path without symbolic links.
        let path: String
        private let directory: Directory
        private let folder: Directory
        private let blocking: BlockingPool
        /// Those of this process that want the lock, in their order.
        private let turns = Locked(Turns())
        /// What this process has written last.
        private let written = Locked<TGTState?>(nil)
        private let patience: Duration
        /// Of the calls with which files are changed.
        private let limit: IODeadline?
        /// Whether a state was being written that did not come to an end in time.
        private let isUnsure = Locked(false)

        private struct Turns {
            var waiting: [UInt64] = []
            var next: UInt64 = 0
        }

        private static let stateName = "state.json"
        private static let newStateName = "state.new"
        private static let lockName = "lock"
        /// Of the state: some hundred thousand units.
        private static let largestByteCount: UInt64 = 256 << 20

        /// Opens the directory, and makes the pool's folder in it where there is none.
        init(_ path: String, deadline: Duration, _ blocking: BlockingPool) async throws(StorageError) {
            patience = deadline
            limit = blocking.deadline
            self.blocking = blocking
            guard path.hasPrefix("/") else {
                throw StorageError(.invalidArgument, "open pool", at: path, why: "an absolute path is needed")
            }
            do throws(SystemError) {
                directory = try await Directory.open(FilePath(path), blocking: blocking)
                self.path = try await directory.resolvedPath()
                do throws(SystemError) {
                    try await directory.makeDirectory(TGTState.folder, permissions: .ownerReadWriteExecute)
                    try await directory.synchronize()
                } catch {
                    if error.errno != .fileExists { throw error }
                }
                folder = try await Directory.open(
                    FilePath(self.path).appending(TGTState.folder), blocking: blocking)
            } catch {
                throw StorageError(error, "open pool", at: path)
            }
            // tgtd reads lists of values in which these end one.
            guard self.path.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: ",") }) else {
                throw StorageError(
                    .invalidArgument, "open pool", at: path, why: "tgtd takes no path with spaces or commas")
            }
        }

        func path(of file: String) -> String { "\(path)/\(file)" }

        // MARK: - Host

        /// What tells this host from others; empty where it has nothing of the kind.
        func machine(_ file: FilePath) async throws(StorageError) -> String {
            do throws(SystemError) {
                let opened = try await File.open(file)
                var bytes = [UInt8](repeating: 0, count: 256)
                var span = bytes.mutableRawBytes
                let count = try await opened.read(into: &span, at: 0)
                try await opened.close()
                return String(decoding: bytes.prefix(count).prefix { $0 > 0x20 }, as: UTF8.self)
            } catch {
                if error.errno == .noSuchFileOrDirectory { return "" }
                throw StorageError(error, "read the machine's id", at: file.string)
            }
        }

        /// A socket's path without symbolic links to it.
        func resolved(_ socket: String) async throws(StorageError) -> String {
            let socket = FilePath(socket)
            guard let name = socket.lastComponent else { return socket.string }
            do throws(SystemError) {
                let folder = socket.removingLastComponent()
                let opened = try await Directory.open(folder.isEmpty ? "." : folder)
                return FilePath(try await opened.resolvedPath()).appending(name).string
            } catch {
                throw StorageError(error, "open pool", at: socket.string)
            }
        }

        // MARK: - State

        /// The state as it was written last.
        func state() async throws(StorageError) -> TGTState? {
            guard let bytes = try await contents(of: Self.stateName) else { return nil }
            return try TGTState(bytes, at: "\(path)/\(TGTState.folder)/\(Self.stateName)")
        }

        /// Writes the state; all of it is there then, or the old one. The lock is held.
        func save(_ state: TGTState) async throws(StorageError) {
            // Also what `current` read: nobody else has changed it since.
            if written.withLock({ $0 }) == state { return }
            if isUnsure.withLock({ $0 }), isLate {
                throw StorageError(
                    .timedOut, "write state", at: path, why: "an earlier write of it has not come to an end")
            }
            written.withLock { $0 = nil }
            let bytes = state.bytes
            isUnsure.withLock { $0 = true }
            try await attempt("write state", Self.stateName) { () async throws(SystemError) in
                let file = try await folder.open(Self.newStateName, [.write, .create, .truncate])
                do throws(SystemError) {
                    try await file.write(bytes.rawBytes, at: 0)
                    try await file.synchronize(dataOnly: false)
                } catch {
                    try? await file.close()
                    throw error
                }
                try await file.close()
                try await folder.rename(Self.newStateName, to: Self.stateName, replacing: true)
                try await folder.synchronize()
            }
            isUnsure.withLock { $0 = false }
            written.withLock { $0 = state }
        }

        /// Whether the kernel still has a call that was given up.
        private var isLate: Bool { limit?.overdue != nil }

        /// The state, of which `save` then writes only what is another. The lock is held.
        func begin() async throws(StorageError) -> TGTState? {
            let state = try await state()
            written.withLock { $0 = state }
            return state
        }

        /// Runs `body` while no other process, and nobody else of this one, changes the state. Throws `busy` when that
        /// does not come true within the deadline.
        func withLock<Result>(
            _ what: String, _ body: () async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let end = ContinuousClock.now + patience
            func pause(_ holder: String, _ time: Duration) async throws(StorageError) {
                if Task.isCancelled { throw StorageError(.cancelled, what, at: path) }
                guard ContinuousClock.now < end else {
                    throw StorageError(.busy, what, at: path, why: "\(holder) holds the pool's lock")
                }
                await IOExecutor.sleep(for: time)
            }
            let turn = turns.withLock { turns in
                turns.next &+= 1
                turns.waiting.append(turns.next)
                return turns.next
            }
            defer { turns.withLock { turns in turns.waiting.removeAll { $0 == turn } } }
            while turns.withLock({ $0.waiting.first != turn }) {
                try await pause("another task of this process", .milliseconds(1))
            }
            let file = try await attempt(what, Self.lockName) { () async throws(SystemError) in
                try await folder.open(Self.lockName, [.write, .create])
            }
            do throws(StorageError) {
                while try await attempt(
                    what, Self.lockName, { () async throws(SystemError) in try await !file.lock(.exclusive, 0..<1) }
                ) {
                    try await pause("another process", .microseconds(Int.random(in: 1000...8000)))
                }
                let result = try await body()
                try? await file.close()
                return result
            } catch {
                await letGo(file)
                throw error
            }
        }

        /// Gives up the lock when nothing that was begun with it can change a file any more: a call that the kernel still
        /// has may yet be done, and nobody else, in this process either, gets the lock until it has returned.
        private func letGo(_ file: File) async {
            guard isLate else {
                try? await file.close()
                return
            }
            Task.detached { [self] in
                while isLate { await IOExecutor.sleep(for: .milliseconds(20)) }
                try? await file.close()
            }
        }

        // MARK: - Secrets

        /// Who proves with a secret who he is. The value is the name of the file that holds it.
        enum Party: String, CaseIterable {
            case initiator = "secret"
            case target = "target-secret"
        }

        /// A secret of the pool; made where there is none. The lock is held then.
        func secret(of party: Party, making: Bool = false) async throws(StorageError) -> Secret {
            let name = party.rawValue
            let place = path(of: "\(TGTState.folder)/\(name)")
            if let bytes = try await contents(of: name) {
                let text = String(decoding: bytes, as: UTF8.self)
                guard (12...16).contains(text.utf8.count), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                    throw StorageError(.corrupt, "read secret", at: place, why: "it has no 12 to 16 signs")
                }
                return Secret(text)
            }
            guard making else {
                throw StorageError(.notFound, "read secret", at: place, why: "the pool's secret is gone")
            }
            let signs = Array("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789")
            let text = String((0..<16).map { _ in signs.randomElement() ?? "x" })
            try await attempt("write secret", name) { () async throws(SystemError) in
                // Under another name first: a secret that is cut off would be taken for one.
                let file = try await folder.open(
                    "\(name).new", [.write, .create, .truncate], permissions: .ownerReadWrite)
                do throws(SystemError) {
                    try await file.write(Array(text.utf8).rawBytes, at: 0)
                    try await file.synchronize(dataOnly: false)
                } catch {
                    try? await file.close()
                    throw error
                }
                try await file.close()
                try await folder.rename("\(name).new", to: name, replacing: true)
                try await folder.synchronize()
            }
            return Secret(text)
        }

        // MARK: - Files

        /// Makes a file that reads as zeros, in place of one that nobody knows.
        func create(_ file: String, size: UInt64) async throws(StorageError) {
            try await attempt("create unit", file) { () async throws(SystemError) in
                let opened = try await directory.open(file, inFolder: folder, [.write, .create, .truncate])
                do throws(SystemError) {
                    try await opened.truncate(to: size)
                    try await opened.synchronize(dataOnly: false)
                } catch {
                    try? await opened.close()
                    throw error
                }
                try await opened.close()
                try await folder.synchronize()
            }
        }

        /// Has a file be as large as `size`, durably.
        func grow(_ file: String, to size: UInt64) async throws(StorageError) {
            try await attempt("grow unit", file) { () async throws(SystemError) in
                let opened = try await directory.open(file, inFolder: folder, .write)
                do throws(SystemError) {
                    if try await opened.size() < size {
                        try await opened.truncate(to: size)
                        try await opened.synchronize(dataOnly: false)
                    }
                } catch {
                    try? await opened.close()
                    throw error
                }
                try await opened.close()
            }
        }

        /// Makes a file with the blocks of another, and `size` bytes. False where the file system shares none.
        func shareBlocks(of source: String, as file: String, size: UInt64) async throws(StorageError) -> Bool {
            try await attempt("copy unit", file) { () async throws(SystemError) in
                let original = try await self.source(of: source)
                let copy: File
                do throws(SystemError) {
                    copy = try await directory.open(file, inFolder: folder, [.write, .create, .truncate])
                } catch {
                    try? await original.close()
                    throw error
                }
                do throws(SystemError) {
                    do throws(SystemError) {
                        try await copy.shareBlocks(of: original)
                        try await original.close()
                    } catch {
                        try? await original.close()
                        let cannot: [Errno] = [
                            .notSupported, .improperLink, .invalidArgument, .inappropriateIOCTLForDevice,
                        ]
                        guard cannot.contains(error.errno) else { throw error }
                        try await copy.close()
                        return false
                    }
                    try await copy.truncate(to: size)
                    try await copy.synchronize(dataOnly: false)
                } catch {
                    try? await copy.close()
                    throw error
                }
                try await copy.close()
                try await folder.synchronize()
                return true
            }
        }

        /// Makes a file with the bytes of another, and `size` bytes; holes stay holes.
        func copy(_ source: String, to file: String, size: UInt64) async throws(StorageError) {
            let (original, copy) = try await attempt("copy unit", file) { () async throws(SystemError) in
                let original = try await self.source(of: source)
                let copy = try await directory.open(file, inFolder: folder, [.write, .create, .truncate])
                try await copy.truncate(to: size)
                return (original, copy)
            }
            let from = try await FileVolume(original, isReadOnly: true)
            try await closing(from) { () async throws(StorageError) in
                let to = try await FileVolume(copy, isReadOnly: false)
                try await closing(to) { () async throws(StorageError) in
                    _ = try await from.copy(to: to, CopyOptions(destinationReadsZero: true))
                    try await to.flush()
                }
            }
            try await attempt("copy unit", file) { () async throws(SystemError) in try await folder.synchronize() }
        }

        /// Removes files for good. Those that are not there: success.
        func remove(_ files: [String]) async throws(StorageError) {
            for file in files {
                do throws(StorageError) {
                    try await attempt("remove unit", file) { () async throws(SystemError) in
                        try await directory.remove(file)
                    }
                } catch {
                    if error.code != .notFound { throw error }
                }
            }
            try await attempt("remove unit", TGTState.folder) { () async throws(SystemError) in
                try await folder.synchronize()
            }
        }

        /// The files of the pool's folder that hold bytes.
        func ownFiles() async throws(StorageError) -> [String] {
            try await attempt("list units", TGTState.folder) { () async throws(SystemError) in
                try await folder.names().filter(TGTState.isOwn).map { "\(TGTState.folder)/\($0)" }
            }
        }

        /// What lies in the directory itself: files and block devices.
        func entries() async throws(StorageError) -> [(name: String, status: FileStatus)] {
            let entries = try await attempt("list units", "") { () async throws(SystemError) in
                try await directory.entries()
            }
            var found: [(name: String, status: FileStatus)] = []
            for entry in entries where VolumeName.isValid(entry.name) {
                if entry.status.isRegularFile {
                    found.append((entry.name, entry.status))
                } else if let status = try? await directory.status(of: entry.name, followsLinks: true),
                    status.isBlockDevice
                {
                    found.append((entry.name, status))
                }
            }
            return found
        }

        func status(of file: String) async -> FileStatus? {
            try? await directory.status(of: file, followsLinks: true)
        }

        /// The bytes that a file or a block device has.
        func size(of file: String) async throws(StorageError) -> UInt64 {
            try await attempt("look up unit", file) { () async throws(SystemError) in
                let opened = try await source(of: file)
                let size: UInt64
                do throws(SystemError) { size = try await opened.size() } catch {
                    try? await opened.close()
                    throw error
                }
                try await opened.close()
                return size
            }
        }

        /// Opens what a unit's bytes are in, to be read. Devices are mostly found by a symbolic link, which leads to
        /// nothing else.
        private func source(of file: String) async throws(SystemError) -> File {
            let status = try await directory.status(of: file, followsLinks: true)
            guard status.isBlockDevice else { return try await directory.open(file, inFolder: folder, []) }
            let opened = try await File.open(FilePath(path(of: file)), blocking: blocking)
            do throws(SystemError) {
                guard try await opened.status().isSame(as: status) else {
                    throw SystemError(.noSuchAddressOrDevice, "open")
                }
                return opened
            } catch {
                try? await opened.close()
                throw error
            }
        }

        func space() async throws(StorageError) -> FileSystemSpace {
            try await attempt("ask for the space of", "") { () async throws(SystemError) in
                try await directory.fileSystemSpace()
            }
        }

        // MARK: -

        private func contents(of name: String) async throws(StorageError) -> [UInt8]? {
            try await attempt("read", name) { () async throws(SystemError) in
                let file: File
                do throws(SystemError) {
                    file = try await folder.open(name)
                } catch {
                    if error.errno == .noSuchFileOrDirectory { return nil }
                    throw error
                }
                do throws(SystemError) {
                    let size = try await file.size()
                    guard size <= Self.largestByteCount else { throw SystemError(.fileTooLarge, "read") }
                    var bytes = [UInt8](repeating: 0, count: Int(size))
                    var span = bytes.mutableRawBytes
                    let count = size == 0 ? 0 : try await file.read(into: &span, at: 0)
                    try await file.close()
                    return Array(bytes.prefix(count))
                } catch {
                    try? await file.close()
                    throw error
                }
            }
        }

        private func attempt<Result>(
            _ what: String, _ name: String, _ body: () async throws(SystemError) -> Result
        ) async throws(StorageError) -> Result {
            do throws(SystemError) {
                return try await body()
            } catch {
                throw StorageError(error, what, at: name.isEmpty ? path : path(of: name))
            }
        }
    }

    extension Directory {
        /// Opens a file of the directory, or of a folder of it whose name stands before a slash.
        fileprivate func open(
            _ file: String, inFolder folder: Directory, _ options: File.Options
        ) async throws(SystemError) -> File {
            guard let slash = file.firstIndex(of: "/") else { return try await open(file, options) }
            return try await folder.open(String(file[file.index(after: slash)...]), options)
        }
    }
#endif
