#if Downloads
    import BlockStorage

    /// One file that is to be downloaded: where it is, best place first, and what is known of it beforehand.
    struct DownloadFile: Sendable {
        /// Tells how it is packed.
        var name: String
        var locations: [DownloadLocation]
        /// In bytes.
        var size: UInt64?
        var checksum: Checksum?
        var pieces: SegmentPlan.Pieces?

        /// Whether wrong bytes do not stay unnoticed, so that servers may be mixed.
        func isVerified(by checksum: Checksum?) -> Bool { checksum != nil || self.checksum != nil || pieces != nil }
    }
#endif
