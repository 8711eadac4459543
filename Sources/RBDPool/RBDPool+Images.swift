#if RBD
    import BlockStorage
    import IORuntime

    /// An image that the pool lists, and what was declared of it.
    struct PoolImage: Sendable {
        var name: String
        var id: String
        /// Nil for what nobody adopted.
        var declaration: Declaration?

        /// Of images that are being built or taken apart, by Sluice itself or by a program that builds on it.
        static let temporaryPrefix = "sluice-incomplete-"

        /// A name that nothing else has or had.
        static func temporaryName() -> String { temporaryPrefix + RBDPool.unique() }

        /// How to open it: by its id, since a rename that died may have left something under its name.
        var reference: RBDImage.Name { .id(id, name: name) }

        /// Whether the image is a volume or template, and not one that is being built or taken apart.
        var isVisible: Bool {
            !name.hasPrefix(Self.temporaryPrefix) || RBDOrigin(declaration?.origin)?.name == name
        }
    }

    extension RBDPool {
        /// 128 random bits in 32 digits.
        static func unique() -> String {
            (0..<2).map { _ in
                let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
                return String(repeating: "0", count: 16 - digits.count) + digits
            }.joined()
        }

        /// The image of a volume or template. Throws `notFound`, and `notSupported` for one of format 1.
        func find(_ name: String, _ what: String, _ connection: RBDConnection) async throws(StorageError) -> PoolImage {
            if let image = try await findIfPresent(name, what, connection) { return image }
            let header = RADOSObject(connection: connection, name: "\(name).rbd")
            try RBDImageFormat.check(isOld: try await header.data(what) != nil, what, at: "\(self.name)/\(name)")
            throw failure(.notFound, what, name, "there is no volume or template of that name")
        }

        func findIfPresent(
            _ name: String, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) -> PoolImage? {
            try VolumeName.check(name)
            guard let id = try await RBDDirectory(connection: connection).id(of: name, what) else { return nil }
            let declaration = try await RBDDeclarations(connection: connection).values(of: [id], what)[id]
            let image = PoolImage(name: name, id: id, declaration: declaration)
            return image.isVisible ? image : nil
        }

        /// As `find`, for what must have been declared. Throws `invalidArgument` where nobody did.
        func findManaged(
            _ name: String, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) -> (PoolImage, Declaration) {
            let image = try await find(name, what, connection)
            guard let declaration = image.declaration else {
                throw failure(.invalidArgument, what, name, "it was put there by something else: adopt it first")
            }
            return (image, declaration)
        }

        /// As `findManaged`, for what no template can have done to it.
        func findVolume(
            _ name: String, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) -> (PoolImage, Declaration) {
            let (image, declaration) = try await findManaged(name, what, connection)
            guard declaration.kind == .volume else {
                throw failure(.readOnly, what, name, "it is a template, and templates are never written")
            }
            return (image, declaration)
        }

        /// Sizes of volumes are a multiple of this, in bytes.
        static let sectorSize: UInt64 = 512

        func checkSize(_ size: UInt64, _ what: String, _ name: String) throws(StorageError) {
            // librbd itself has no limit, and fails late.
            guard size > 0, size % Self.sectorSize == 0, size <= Int64.max / 2 else {
                throw failure(
                    .invalidArgument, what, name, "\(size) is not a positive multiple of \(Self.sectorSize) bytes")
            }
        }
    }

    /// The formats of images that there were.
    enum RBDImageFormat {
        /// Throws `notSupported` for format 1.
        static func check(isOld: Bool, _ what: String, at place: String) throws(StorageError) {
            guard isOld else { return }
            throw StorageError(
                .notSupported, what, at: place,
                why: "it is an image of format 1, which has no clones, locks or object map: migrate it by "
                    + "'rbd migration prepare' and 'execute'")
        }
    }
#endif
